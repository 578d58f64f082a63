// The size of the file argv[1] and the sum of its bytes, by stat, read and mmap, in one exit status.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static unsigned char buffer[1 << 16];
    struct stat info;
    unsigned long sum = 0, mapped = 0, total = 0;
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0 || fstat(fd, &info)) return 250;
    for (long n; (n = read(fd, buffer, sizeof buffer)) > 0; total += (unsigned long)n)
        for (long i = 0; i < n; i++) sum += buffer[i];
    if (total != (unsigned long)info.st_size) return 251;
    if (total) {
        unsigned char *map = mmap(NULL, total, PROT_READ, MAP_PRIVATE, fd, 0);
        for (unsigned long i = 0; i < total; i++) mapped += map[i];
        for (unsigned long i = total; i % 4096; i++) if (map[i]) return 253;
    }
    if (mapped != sum) return 252;
    return (int)((total + sum) % 199);
}
