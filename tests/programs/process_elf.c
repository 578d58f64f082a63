/* Every field of an ELF file's headers at every interesting value, through execve: one line a file.
 * Not self-judging: the host says what each line must be. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned long edges[] = {
    0, 1, 2, 3, 4, 7, 8, 64, 120, 0xfff, 0x1000, 0x1001, 0x2000, 0x10000, 0x3ff000, 0x400000, 0x400078, 0x7fffffff, 0x80000000,
    0xffffffff, 0x100000000, 0x555555554000, 0x7ffff7000000, 0x7fffffffe000, 0x7fffffffefff, 0x7ffffffff000, 0x800000000000,
    0x8000000000000, 0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffff000, 0xffffffffffffffff,
};

struct file {
    Elf64_Ehdr header;
    Elf64_Phdr phdr[3];
    unsigned char code[40];
    char interpreter[40];
    char rest[0x1000];
};
static const unsigned char exit_7[] = {0xb8, 60, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05};

static struct file base(int type)
{
    struct file f;
    memset(&f, 0, sizeof f);
    unsigned long at = type == ET_DYN ? 0 : 0x400000;
    f.header = (Elf64_Ehdr){.e_ident = {0x7f, 'E', 'L', 'F', 2, 1, 1}, .e_type = type, .e_machine = EM_X86_64, .e_version = 1,
                            .e_entry = at + offsetof(struct file, code), .e_phoff = 64, .e_ehsize = 64, .e_phentsize = 56,
                            .e_phnum = 3};
    f.phdr[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = 5, .p_vaddr = at, .p_paddr = at, .p_filesz = sizeof f,
                             .p_memsz = sizeof f, .p_align = 4096};
    f.phdr[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = 6, .p_offset = 0x1000, .p_vaddr = at + 0x3000, .p_filesz = 0x10,
                             .p_memsz = 0x2010, .p_align = 4096};
    f.phdr[2] = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = 6, .p_align = 16};
    memcpy(f.code, exit_7, sizeof exit_7);
    return f;
}

static void try(const char *what, unsigned long value, const struct file *f)
{
    static const char name[] = "elf-under-test";
    unlink(name);
    int fd = open(name, O_CREAT | O_WRONLY, 0755);
    if (fd < 0 || write(fd, f, sizeof *f) != sizeof *f)
        _exit(1);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) {
        execl(name, name, NULL);
        _exit(100 + errno % 100);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s = %lx: signal %d\n", what, value, WTERMSIG(status));
    else if (WEXITSTATUS(status) >= 100)
        printf("%s = %lx: %s\n", what, value, strerror(WEXITSTATUS(status) - 100));
    else
        printf("%s = %lx: exit %d\n", what, value, WEXITSTATUS(status));
    fflush(stdout);
}

/* Results that depend on where the host put the vdso, which Forkyard has not. */
static int by_chance(int type, const char *field, int n, unsigned long value)
{
    return type == ET_DYN && ((n == 0 && !strcmp(field, "p_type") && value != 1 && value != 3)
                              || (n < 0 && !strcmp(field, "e_phoff") && value == 120) || value == 0x7ffff7000000);
}

static void set(void *at, size_t size, unsigned long value)
{
    memcpy(at, &value, size);
}

int main(void)
{
    static const struct { const char *name; size_t offset, size; } header_fields[] = {
        {"e_type", offsetof(Elf64_Ehdr, e_type), 2}, {"e_machine", offsetof(Elf64_Ehdr, e_machine), 2},
        {"e_entry", offsetof(Elf64_Ehdr, e_entry), 8}, {"e_phoff", offsetof(Elf64_Ehdr, e_phoff), 8},
        {"e_phentsize", offsetof(Elf64_Ehdr, e_phentsize), 2}, {"e_phnum", offsetof(Elf64_Ehdr, e_phnum), 2},
    }, segment_fields[] = {
        {"p_type", offsetof(Elf64_Phdr, p_type), 4}, {"p_flags", offsetof(Elf64_Phdr, p_flags), 4},
        {"p_offset", offsetof(Elf64_Phdr, p_offset), 8}, {"p_vaddr", offsetof(Elf64_Phdr, p_vaddr), 8},
        {"p_filesz", offsetof(Elf64_Phdr, p_filesz), 8}, {"p_memsz", offsetof(Elf64_Phdr, p_memsz), 8},
        {"p_align", offsetof(Elf64_Phdr, p_align), 8},
    };
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    for (int type = ET_EXEC; type <= ET_DYN; type++) {
        struct file f = base(type);
        char what[64];
        try(type == ET_EXEC ? "EXEC" : "DYN", 0, &f);
        for (unsigned i = 0; i < sizeof header_fields / sizeof *header_fields; i++)
            for (unsigned e = 0; e < sizeof edges / sizeof *edges; e++) {
                if (by_chance(type, header_fields[i].name, -1, edges[e]))
                    continue;
                f = base(type);
                set((char *)&f.header + header_fields[i].offset, header_fields[i].size, edges[e]);
                snprintf(what, sizeof what, "%d %s", type, header_fields[i].name);
                try(what, edges[e], &f);
            }
        for (int n = 0; n < 3; n++)
            for (unsigned i = 0; i < sizeof segment_fields / sizeof *segment_fields; i++)
                for (unsigned e = 0; e < sizeof edges / sizeof *edges; e++) {
                    if (by_chance(type, segment_fields[i].name, n, edges[e]))
                        continue;
                    f = base(type);
                    set((char *)&f.phdr[n] + segment_fields[i].offset, segment_fields[i].size, edges[e]);
                    snprintf(what, sizeof what, "%d [%d].%s", type, n, segment_fields[i].name);
                    try(what, edges[e], &f);
                }
    }
    return 0;
}
