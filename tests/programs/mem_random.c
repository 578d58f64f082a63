/* Random mapping calls on a small arena: `mem_random SEED STEPS`. Every result, and every few steps the mappings with
 * their flags and what the memory holds, are printed; the host's output is what Forkyard's must be. */
#define TEST_NO_MAIN
#include "test.h"

#define PAGES 48

static uint64_t state;
static unsigned char *arena;
static int file, depth;

static unsigned pick(unsigned n)
{
    state = state * 6364136223846793005 + 1442695040888963407;
    return (state >> 33) % n;
}

/* Memory that can only be executed cannot be read where the processor has protection keys, and is as other memory where
 * it has none, as Forkyard's: it is up to the host. */
static int protection(int prot) { return prot == PROT_EXEC ? PROT_READ | PROT_EXEC : prot; }

/* An address in the arena, a page's start as a rule. */
static unsigned char *place(void) { return arena + pick(PAGES) * TEST_PAGE + (pick(24) == 0 ? pick(4096) : 0); }
static size_t length(void) { return (pick(16) == 0 ? 0 : 1 + pick(12)) * TEST_PAGE - (pick(12) == 0 ? pick(4095) : 0); }

static const char *result(long value)
{
    static char text[64];
    if (value >= 0 || value < -4095)
        snprintf(text, sizeof text, "%ld", value);
    else
        snprintf(text, sizeof text, "%s", test_errno_name(-value));
    return text;
}

#define CALL(...) ({ long _r = syscall(__VA_ARGS__); _r == -1 ? -(long)errno : _r; })

/* An address as the test may print it; memory outside the arena is given back. */
static const char *address(long value, size_t size)
{
    static char text[64];
    if (value < 0 && value > -4096)
        return result(value);
    if ((unsigned char *)value >= arena && (unsigned char *)value < arena + PAGES * TEST_PAGE) {
        snprintf(text, sizeof text, "+%ld", (long)((unsigned char *)value - arena) / (long)TEST_PAGE);
        return text;
    }
    munmap((void *)value, size);
    return "elsewhere";
}

static void do_mmap(void)
{
    static const int kinds[] = {MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS,
                                MAP_PRIVATE, MAP_SHARED, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                MAP_SHARED_VALIDATE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED};
    unsigned char *at = place();
    size_t size = length();
    int flags = kinds[pick(9)] | (pick(4) ? MAP_FIXED : MAP_FIXED_NOREPLACE), prot = protection(pick(8));
    long offset = pick(10) * TEST_PAGE;
    long got = CALL(SYS_mmap, at, size, prot, flags, flags & MAP_ANONYMOUS ? -1 : file, offset);
    test_print("mmap +%ld %zx prot %d flags %x: %s\n", (long)(at - arena), size, prot, flags, address(got, size));
}

static void do_mremap(void)
{
    static const int kinds[] = {0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED,
                                MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
                                MREMAP_FIXED, 8};
    unsigned char *at = place(), *to = place();
    size_t size = length(), wanted = pick(3) ? length() : size;
    int flags = kinds[pick(8)];
    long got = CALL(SYS_mremap, at, size, wanted, flags, to);
    test_print("mremap +%ld %zx to %zx flags %d +%ld: %s\n", (long)(at - arena), size, wanted, flags, (long)(to - arena),
               address(got, wanted));
}

static void do_madvise(void)
{
    static const int advices[] = {0, 1, 2, 3, 4, 4, 4, 5, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26};
    unsigned char *at = place();
    size_t size = length();
    int advice = advices[pick(sizeof advices / sizeof *advices)];
    test_print("madvise +%ld %zx %d: %s\n", (long)(at - arena), size, advice, result(CALL(SYS_madvise, at, size, advice)));
}

static void do_mincore(void)
{
    unsigned char vec[PAGES + 16], *at = place();
    size_t size = length();
    long got = CALL(SYS_mincore, at, size, vec);
    /* Which pages are there is not compared: a child of Linux lacks those that its parent only read. */
    test_print("mincore +%ld %zx: %s\n", (long)(at - arena), size, result(got));
}

static void do_touch(void)
{
    unsigned char *at = arena + pick(PAGES) * TEST_PAGE + pick(4096), seen = 0;
    int write = pick(3), value = pick(255) + 1;
    struct test_fault fault = TEST_FAULT(if (write) TEST_POKE(at, value); else seen = TEST_PEEK(at));
    test_print("%s +%ld: signal %d code %d value %d\n", write ? "write" : "read", (long)(at - arena), fault.signo,
               fault.signo ? fault.code : 0, seen);
}

static void do_one(const char *name, long number, int last)
{
    unsigned char *at = place();
    size_t size = length();
    test_print("%s +%ld %zx %x: %s\n", name, (long)(at - arena), size, last, result(CALL(number, at, size, last)));
}

/* What each page of the arena allows and the flags that calls change, in runs (Linux joins mappings by rules of its
 * own), and a sum over what can be read. */
static void show(void)
{
    static char text[1 << 18], kinds[PAGES + 1][80];
    static const char *const flags[] = {"nr", "lo", "dc", "wf", "dd", "hg", "nh", "gd", "sh", "mr", "mw", "me", "ms"};
    size_t n = 0;
    unsigned long start = 0, end = 0, anonymous = 0;
    char perms[8], kind[80];
    munmap(arena + PAGES * TEST_PAGE, 24 * TEST_PAGE); /* no mapping ends elsewhere */
    int fd = open("/proc/self/smaps", O_RDONLY), inside = 0, run = 0;
    for (ssize_t got; n < sizeof text - 1 && (got = read(fd, text + n, sizeof text - 1 - n)) > 0;)
        n += got;
    close(fd);
    text[n] = 0;
    memset(kinds, 0, sizeof kinds);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long from, to; /* sscanf takes the A of Anonymous for a number */
        if (sscanf(line, "%lx-%lx %7s ", &from, &to, perms) == 3) {
            start = (from - (uintptr_t)arena) / TEST_PAGE, end = (to - (uintptr_t)arena) / TEST_PAGE;
            inside = start < PAGES;
        } else if (inside && strncmp(line, "Anonymous:", 10) == 0) {
            anonymous += atol(line + 10);
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            strcpy(kind, perms);
            for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
                if (strstr(line, flags[i]))
                    strcat(strcat(kind, " "), flags[i]);
            for (unsigned long i = start; i < end && i < PAGES; i++)
                strcpy(kinds[i], kind);
        }
    }
    for (int i = 1; i <= PAGES; i++)
        if (i == PAGES || strcmp(kinds[i], kinds[run])) {
            if (*kinds[run])
                test_print("  %d-%d %s\n", run, i, kinds[run]);
            run = i;
        }
    unsigned long sum = 0;
    fd = open("/proc/self/mem", O_RDONLY);
    for (int i = 0; i < PAGES; i++) {
        unsigned char page[TEST_PAGE];
        long got = pread(fd, page, sizeof page, (long)(arena + i * TEST_PAGE));
        for (long k = 0; k < got; k++)
            sum = sum * 31 + page[k];
        sum = sum * 31 + (got == (long)TEST_PAGE);
    }
    close(fd);
    test_print("  anonymous %ld sum %lx\n", anonymous, sum);
}

static void steps(int count)
{
    for (int i = 1; i <= count; i++) {
        switch (pick(24)) {
        case 0: case 1: case 2: case 3: do_mmap(); break;
        case 4: case 5: do_one("munmap", SYS_munmap, 0); break;
        case 6: case 7: case 8:
            do_one("mprotect", SYS_mprotect, protection(pick(12) ? pick(8) : 1 << pick(28)));
            break;
        case 9: case 10: case 11: do_mremap(); break;
        case 12: case 13: case 14: do_madvise(); break;
        case 15: do_mincore(); break;
        case 16: do_one("msync", SYS_msync, pick(9)); break;
        case 17: do_one("mlock", SYS_mlock, 0); break;
        case 18: do_one("munlock", SYS_munlock, 0); break;
        case 19:
            if (depth < 3) {
                pid_t pid = fork();
                if (pid == 0) {
                    depth++;
                    steps(12);
                    show();
                    _exit(0);
                }
                int status;
                waitpid(pid, &status, 0);
                test_print("child %x\n", status);
            }
            pick(2); /* the parent goes on differently from the child */
            break;
        default: do_touch();
        }
        if (i % 8 == 0)
            show();
    }
}

int main(int argc, char **argv)
{
    state = argc > 1 ? strtoul(argv[1], NULL, 0) * 7919 + 1 : 1;
    test_pid = getpid();
    file = memfd_create("random", 0);
    ftruncate(file, 8 * TEST_PAGE);
    for (int i = 0; i < 8; i++)
        pwrite(file, &i, 1, i * TEST_PAGE + 7);
    arena = mmap(NULL, (PAGES + 32) * TEST_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(arena, (PAGES + 32) * TEST_PAGE);
    arena += 8 * TEST_PAGE;
    steps(argc > 2 ? atoi(argv[2]) : 100);
    return 0;
}
