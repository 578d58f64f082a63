/* execve and execveat: arguments, environment, auxiliary vector, scripts, limits, what stays and what goes. */
#pragma GCC diagnostic ignored "-Wstringop-overread" /* bad pointers on purpose */
#include "test.h"
#include <elf.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

extern char **environ;

/* The program runs itself with TEST_EXEC set to a letter: it then checks what it finds, before main, and leaves. */
static char self[4096];

static int signal_is(int signo, void (*handler)(int))
{
    struct sigaction action;
    return sigaction(signo, NULL, &action) == 0 && action.sa_handler == handler && action.sa_flags == 0;
}

static int check_layout(char **argv, long argc)
{
    /* Strings lie in order, the file's name above all; the stack pointer was a multiple of 16. */
    const char *last = argv[0];
    for (long i = 1; i < argc; i++) {
        if (argv[i] != last + strlen(last) + 1)
            return 10;
        last = argv[i];
    }
    for (int i = 0; environ[i]; i++) {
        if (environ[i] != last + strlen(last) + 1)
            return 11;
        last = environ[i];
    }
    if ((const char *)getauxval(AT_EXECFN) != last + strlen(last) + 1)
        return 12;
    if (((uintptr_t)argv - 8) % 16)
        return 13;
    if (getauxval(AT_PAGESZ) != 4096 || getauxval(AT_CLKTCK) != 100 || getauxval(AT_UID) != getuid()
        || getauxval(AT_EUID) != geteuid() || getauxval(AT_GID) != getgid() || getauxval(AT_SECURE) != 0)
        return 14;
    const Elf64_Phdr *phdr = (const Elf64_Phdr *)getauxval(AT_PHDR);
    if (getauxval(AT_PHENT) != sizeof *phdr || getauxval(AT_PHNUM) < 4)
        return 15;
    int loads = 0;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
        loads += phdr[i].p_type == PT_LOAD;
    if (loads < 2 || !getauxval(AT_ENTRY) || strcmp((const char *)getauxval(AT_PLATFORM), "x86_64"))
        return 16;
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    int sum = 0;
    for (int i = 0; i < 16; i++)
        sum += random[i];
    return sum ? 0 : 17;
}

__attribute__((constructor(101))) static void second_life(void)
{
    const char *way = getenv("TEST_EXEC");
    if (!way)
        return;
    char **argv = environ - 1;
    long argc = 0;
    while ((long)argv[-1] != argc)
        argv--, argc++;
    switch (*way) {
    case 'a': /* arguments as the test passes them */
        _exit(argc == 4 && !strcmp(argv[0], "zero") && !strcmp(argv[1], "") && !strcmp(argv[2], "two words")
                      && !strcmp(argv[3], "\xff\x01") && environ[1] && !strcmp(environ[1], "X=1") && !environ[2]
                  ? 0 : 1);
    case 'l':
        _exit(check_layout(argv, argc));
    case 's': { /* signals: USR1 caught before, USR2 ignored, TERM blocked and pending, an alarm set */
        sigset_t mask, pending;
        sigprocmask(SIG_BLOCK, NULL, &mask);
        sigpending(&pending);
        stack_t stack;
        if (!signal_is(SIGUSR1, SIG_DFL) || !signal_is(SIGUSR2, SIG_IGN))
            _exit(1);
        if (!sigismember(&mask, SIGTERM) || !sigismember(&pending, SIGTERM) || sigismember(&mask, SIGINT))
            _exit(2);
        if (alarm(0) < 50)
            _exit(3);
        sigaltstack(NULL, &stack);
        _exit(stack.ss_flags == SS_DISABLE ? 0 : 4);
    }
    case 'f': /* descriptors 50 open, 51 closed */
        _exit(fcntl(50, F_GETFD) == 0 && fcntl(51, F_GETFD) == -1 && errno == EBADF ? 0 : 1);
    case 'p': /* the pid in argv[1] */
        _exit(atoi(argv[1]) == getpid() && syscall(SYS_gettid) == getpid() ? 0 : 1);
    case 'n': /* no argument at all */
        _exit(argc == 1 && !*argv[0] ? 0 : 1);
    case 'c': { /* the number of arguments */
        long total = 0;
        for (long i = 1; i < argc; i++)
            total += strlen(argv[i]);
        test_print("%ld %ld\n", argc, total);
        _exit(0);
    }
    }
    _exit(98);
}

static const char *self_path(void)
{
    ssize_t n = TEST_SUCC(readlink("/proc/self/exe", self, sizeof self - 1));
    self[n] = 0;
    return self;
}

static void exec_self(const char *way, char *const argv[])
{
    char variable[32], *envp[] = {variable, "X=1", NULL};
    snprintf(variable, sizeof variable, "TEST_EXEC=%s", way);
    execve(*self ? self : self_path(), argv, envp);
    _exit(97);
}

static const char *write_file(const char *name, const void *data, size_t n, int mode)
{
    unlink(name);
    int fd = TEST_SUCC(open(name, O_CREAT | O_WRONLY | O_TRUNC, mode));
    TEST_EQ(write(fd, data, n), (long)n);
    TEST_SUCC(fchmod(fd, mode));
    TEST_SUCC(close(fd));
    return name;
}
#define FILE_OF(name, text) write_file(name, text, strlen(text), 0755)

FN_TEST(arguments)
{
    TEST_CHILD({ exec_self("a", (char *[]){"zero", "", "two words", "\xff\x01", NULL}); });
    TEST_CHILD({ exec_self("l", (char *[]){"x", NULL}); });
    TEST_CHILD({ exec_self("l", (char *[]){"xy", "", "z", NULL}); });
    TEST_CHILD({ exec_self("l", (char *[]){"xyz", "a", "b", "c", NULL}); });
    TEST_CHILD({ exec_self("n", (char *[]){NULL}); });
    TEST_CHILD({ exec_self("n", NULL); });
}

FN_TEST(signals_over_exec)
{
    TEST_CHILD({
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        stack_t stack = {.ss_sp = test_map(65536), .ss_size = 65536};
        signal(SIGUSR1, (void (*)(int))_exit);
        signal(SIGUSR2, SIG_IGN);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGTERM);
        alarm(100);
        sigaltstack(&stack, NULL);
        exec_self("s", (char *[]){"x", NULL});
    });
}

FN_TEST(descriptors_over_exec)
{
    TEST_CHILD({
        dup2(1, 50);
        TEST_SUCC(dup3(1, 51, O_CLOEXEC));
        exec_self("f", (char *[]){"x", NULL});
    });
}

FN_TEST(failed_exec_changes_nothing)
{
    int status = TEST_CHILD_STATUS({
        TEST_SUCC(dup3(1, 51, O_CLOEXEC));
        signal(SIGUSR1, (void (*)(int))_exit);
        TEST_ERRNO(execl("/no-such-program", "x", NULL), ENOENT);
        TEST_ERRNO(execl(FILE_OF("junk", "junk"), "x", NULL), ENOEXEC);
        TEST_SUCC(fcntl(51, F_GETFD));
        raise(SIGUSR1);
        _exit(1);
    });
    TEST_EQ(status, SIGUSR1 << 8);
}

static void *exec_from_thread(void *pid)
{
    exec_self("p", (char *[]){"x", pid, NULL});
    return NULL;
}

static void *sleep_forever(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

FN_TEST(exec_from_a_thread)
{
    self_path();
    for (int others = 0; others < 4; others++)
        TEST_CHILD({
            char pid[20];
            pthread_t thread;
            snprintf(pid, sizeof pid, "%d", (int)getpid());
            for (int i = 0; i < others; i++)
                pthread_create(&thread, NULL, sleep_forever, NULL);
            pthread_create(&thread, NULL, exec_from_thread, pid);
            if (others == 2)
                syscall(SYS_exit, 0); /* the leader is a zombie when the thread takes its number */
            for (;;)
                pause();
        });
}

FN_TEST(errors)
{
    char *page = (char *)test_map(2 * TEST_PAGE);
    char *argv[] = {"x", NULL};
    TEST_SUCC(munmap(page + TEST_PAGE, TEST_PAGE));
    memset(page, 'a', TEST_PAGE);
    TEST_ERRNO(execve("", argv, environ), ENOENT);
    TEST_ERRNO(execve((char *)8, argv, environ), EFAULT);
    TEST_ERRNO(execve(page + TEST_PAGE - 100, argv, environ), EFAULT);
    TEST_ERRNO(execve("/no-such-program", (char **)8, environ), ENOENT);
    TEST_ERRNO(execve("/bin/sh", (char **)8, environ), EFAULT);
    TEST_ERRNO(execve("/bin/sh", argv, (char **)8), EFAULT);
    TEST_ERRNO(execve("/bin/sh", (char *[]){(char *)8, NULL}, environ), EFAULT);
    TEST_ERRNO(execve("/bin/sh", (char *[]){page + TEST_PAGE - 3, NULL}, environ), EFAULT);
    TEST_ERRNO(execve("/bin/sh", (char **)(page + TEST_PAGE - 16), environ), EFAULT);
    TEST_ERRNO(execve("/", argv, environ), EACCES);
    TEST_ERRNO(execve("/bin/sh/x", argv, environ), ENOTDIR);
    TEST_ERRNO(execve("/dev/null", argv, environ), EACCES);
    write_file("plain", "#!/bin/sh\n", 10, 0644);
    TEST_ERRNO(execve("plain", argv, environ), EACCES);
    TEST_ERRNO(execve(FILE_OF("empty", ""), argv, environ), ENOEXEC);
    unlink("loop");
    TEST_SUCC(symlink("loop", "loop"));
    TEST_ERRNO(execve("loop", argv, environ), ELOOP);
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    TEST_ERRNO(execve(name, argv, environ), ENAMETOOLONG);
}

static Elf64_Ehdr header(void)
{
    Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_EXEC,
                    .e_machine = EM_X86_64, .e_version = 1, .e_entry = 0x400000 + 120, .e_phoff = 64, .e_ehsize = 64,
                    .e_phentsize = 56, .e_phnum = 1};
    return h;
}

struct small_elf {
    Elf64_Ehdr header;
    Elf64_Phdr phdr[4];
    unsigned char code[64];
    char text[64];
};

/* exit(7) */
static const unsigned char exit_7[] = {0xb8, 60, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05};

static struct small_elf small(int n)
{
    struct small_elf e;
    memset(&e, 0, sizeof e);
    e.header = header();
    e.header.e_phnum = n;
    e.header.e_entry = 0x400000 + offsetof(struct small_elf, code);
    e.phdr[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = 5, .p_vaddr = 0x400000, .p_filesz = sizeof e,
                             .p_memsz = sizeof e, .p_align = 4096};
    memcpy(e.code, exit_7, sizeof exit_7);
    strcpy(e.text, "/no/such/dir/ld.so");
    return e;
}

/* errno of the exec, or 1000 + wait status. */
static int try_bytes(const void *data, size_t n)
{
    const char *name = write_file("small", data, n, 0755);
    int status = TEST_CHILD_STATUS({ execl(name, name, NULL); _exit(errno); });
    return WIFEXITED(status) && WEXITSTATUS(status) != 7 ? WEXITSTATUS(status) : 1000 + status;
}
static int try_elf(struct small_elf e)
{
    return try_bytes(&e, sizeof e);
}
#define RAN (1000 + (7 << 8))
#define KILLED(signo) (1000 + (signo))

#define ELF_TEST(n, expected, ...)                                                         \
    do {                                                                                   \
        struct small_elf e = small(n);                                                     \
        __VA_ARGS__;                                                                       \
        TEST_EQ(try_elf(e), expected);                                                     \
    } while (0)

FN_TEST(elf_headers)
{
    struct rlimit none = {0, 0};
    TEST_SUCC(setrlimit(RLIMIT_CORE, &none));
    ELF_TEST(1, RAN, (void)e);
    ELF_TEST(1, ENOEXEC, e.header.e_ident[1] = 'e');
    ELF_TEST(1, ENOEXEC, e.header.e_type = ET_REL);
    ELF_TEST(1, ENOEXEC, e.header.e_type = ET_CORE);
    ELF_TEST(1, ENOEXEC, e.header.e_machine = EM_ARM);
    ELF_TEST(1, ENOEXEC, e.header.e_machine = EM_AARCH64);
    ELF_TEST(1, ENOEXEC, e.header.e_phentsize = 32);
    ELF_TEST(1, ENOEXEC, e.header.e_phnum = 0);
    ELF_TEST(1, ENOEXEC, e.header.e_phnum = 0xffff);
    ELF_TEST(1, ENOEXEC, e.header.e_phoff = 1 << 30);
    ELF_TEST(1, ENOEXEC, e.header.e_phoff = -1);
    ELF_TEST(1, RAN, e.header.e_version = 9; e.header.e_ident[EI_VERSION] = 9; e.header.e_ident[EI_DATA] = 2);
    ELF_TEST(1, RAN, e.header.e_shoff = -1; e.header.e_shnum = 0xffff);
    struct small_elf e = small(1);
    for (size_t n = 0; n < 120; n += 7)
        TEST_EQ(try_bytes(&e, n), ENOEXEC);
    TEST_EQ(try_bytes(&e, offsetof(struct small_elf, code) + sizeof exit_7), RAN);
}

FN_TEST(registers_at_entry)
{
    /* exit(7) when all registers but RSP are zero at the first instruction, else exit(6). */
    static const unsigned char code[] = {
        0x48, 0x09, 0xd8, 0x48, 0x09, 0xc8, 0x48, 0x09, 0xd0, 0x48, 0x09, 0xf0, 0x48, 0x09, 0xf8, 0x48, 0x09, 0xe8, /* or */
        0x4c, 0x09, 0xc0, 0x4c, 0x09, 0xc8, 0x4c, 0x09, 0xd0, 0x4c, 0x09, 0xd8, 0x4c, 0x09, 0xe0, 0x4c, 0x09, 0xe8,
        0x4c, 0x09, 0xf0, 0x4c, 0x09, 0xf8,
        0x48, 0xf7, 0xd8, 0x19, 0xff, 0x83, 0xc7, 0x07, /* neg rax; sbb edi, edi; add edi, 7 */
        0xb8, 60, 0, 0, 0, 0x0f, 0x05,
    };
    ELF_TEST(1, RAN, memcpy(e.code, code, sizeof code));
}

FN_TEST(elf_interpreters)
{
#define INTERP(offset, size) (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = (offset), .p_filesz = (size), .p_memsz = (size)}
    size_t text = offsetof(struct small_elf, text);
    ELF_TEST(2, ENOENT, e.phdr[1] = INTERP(text, 19));
    ELF_TEST(2, ENOEXEC, e.phdr[1] = INTERP(text, 18));
    ELF_TEST(2, ENOEXEC, e.phdr[1] = INTERP(text, 1));
    ELF_TEST(2, ENOEXEC, e.phdr[1] = INTERP(text, 4097));
    ELF_TEST(2, EIO, e.phdr[1] = INTERP(1 << 20, 19));
    ELF_TEST(2, EINVAL, e.phdr[1] = INTERP(1UL << 63, 19));
    ELF_TEST(2, EACCES, e.phdr[1] = INTERP(text, 19); strcpy(e.text, "/"); memset(e.text + 1, 0, 20));
    ELF_TEST(2, EIO, e.phdr[1] = INTERP(text, 19); strcpy(e.text, FILE_OF("junk", "junk")));
    char longer[100] = "#!/bin/sh\n";
    write_file("longer", longer, sizeof longer, 0755);
    ELF_TEST(2, ELIBBAD, e.phdr[1] = INTERP(text, 19); strcpy(e.text, "longer"));
    struct small_elf other = small(1);
    other.header.e_machine = EM_386;
    write_file("other", &other, sizeof other, 0755);
    ELF_TEST(2, ELIBBAD, e.phdr[1] = INTERP(text, 19); strcpy(e.text, "other"));
    /* A static program can be an interpreter: it gets the control. */
    other = small(1);
    other.header.e_type = ET_DYN;
    other.header.e_entry -= 0x400000;
    other.phdr[0].p_vaddr = 0;
    other.code[6] = 77;
    write_file("loader", &other, sizeof other, 0755);
    int status = TEST_CHILD_STATUS({
        struct small_elf e = small(2);
        e.phdr[1] = INTERP(text, 19);
        strcpy(e.text, "loader");
        write_file("small", &e, sizeof e, 0755);
        execl("./small", "small", NULL);
        _exit(1);
    });
    TEST_EQ(status, 77 << 8);
}

FN_TEST(elf_segments)
{
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_filesz = 200; e.phdr[0].p_memsz = 100);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_offset = 8);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_vaddr = 0x7ffffffff000);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_vaddr = 0xffffffff80000000);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_memsz = 1UL << 50);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_memsz = -1);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_filesz = e.phdr[0].p_memsz = -1);
    ELF_TEST(1, KILLED(SIGSEGV), e.header.e_entry = 0x7ffffffff000);
    ELF_TEST(1, KILLED(SIGSEGV), e.header.e_entry = 0x1000);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_type = PT_NOTE);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_type = PT_NOTE; e.header.e_type = ET_DYN);
    ELF_TEST(1, KILLED(SIGSEGV), e.phdr[0].p_flags = 4);
    /* A position-independent one without interpreter. */
    ELF_TEST(1, RAN, e.header.e_type = ET_DYN; e.phdr[0].p_vaddr = 0; e.header.e_entry -= 0x400000);
    ELF_TEST(1, RAN, e.header.e_type = ET_DYN);
    ELF_TEST(1, RAN, e.header.e_type = ET_DYN; e.phdr[0].p_align = 1 << 21);
    ELF_TEST(1, RAN, e.header.e_type = ET_DYN; e.phdr[0].p_align = 12345);
    /* Two that overlap: the second wins. */
    ELF_TEST(2, RAN, e.phdr[1] = e.phdr[0]);
    /* Memory behind the file is zero: exit(byte at the end of the page + 1). */
    ELF_TEST(2, 1000 + (0 << 8), {
        static const unsigned char code[] = {0x0f, 0xb6, 0x3c, 0x25, 0xff, 0x1f, 0x60, 0, 0xb8, 60, 0, 0, 0, 0x0f, 5};
        memcpy(e.code, code, sizeof code);
        e.phdr[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = 6, .p_vaddr = 0x600000, .p_filesz = 100, .p_memsz = 0x2000,
                                 .p_align = 4096};
        write_file("small", &e, sizeof e, 0755);
        int status = TEST_CHILD_STATUS({ execl("./small", "small", NULL); _exit(1); });
        TEST_EQ(status, 0);
        break;
    });
}

FN_TEST(scripts)
{
    static char out[8192];
    struct { const char *text; const char *expected; } cases[] = {
        {"#!/bin/echo\n", "./script a b\n"},
        {"#!/bin/echo -n\n", "./script a b"},
        {"#! \t/bin/echo one  two \t \n", "one  two ./script a b\n"},
        {"#!/bin/echo", "./script a b\n"},
        {"#!/bin/echo x\0y\n", "x ./script a b\n"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        int p[2];
        TEST_SUCC(pipe(p));
        write_file("script", cases[i].text, i == 4 ? 16 : strlen(cases[i].text), 0755);
        TEST_CHILD({
            dup2(p[1], 1);
            execl("./script", "zero", "a", "b", NULL);
            _exit(1);
        });
        close(p[1]);
        ssize_t n = TEST_SUCC(read(p[0], out, sizeof out - 1));
        out[n] = 0;
        close(p[0]);
        TEST_STR(out, cases[i].expected);
    }
    TEST_EQ(try_bytes("#!", 2), EACCES); /* no name is the working directory */
    TEST_EQ(try_bytes("#! \0x\n", 6), EACCES);
    TEST_EQ(try_bytes("#!\n", 3), ENOEXEC);
    TEST_EQ(try_bytes("#!  \t\n", 6), ENOEXEC);
    TEST_EQ(try_bytes("#!/no-such-prog\n", 16), ENOENT);
    TEST_EQ(try_bytes("#!/\n", 4), EACCES);
    memset(out, 'x', 400);
    memcpy(out, "#!/bin/", 7);
    TEST_EQ(try_bytes(out, 400), ENOEXEC); /* the name may be cut */
    out[200] = '\n';
    TEST_EQ(try_bytes(out, 400), ENOENT);
}

FN_TEST(nested_scripts)
{
    FILE_OF("s0", "#!/bin/echo\n");
    char name[8], text[32], path[8];
    for (int i = 1; i < 8; i++) {
        snprintf(name, sizeof name, "s%d", i);
        snprintf(text, sizeof text, "#!./s%d\n", i - 1);
        FILE_OF(name, text);
    }
    for (int i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "./s%d", i);
        int status = TEST_CHILD_STATUS({
            close(1);
            open("/dev/null", O_WRONLY);
            execl(path, path, NULL);
            _exit(errno);
        });
        TEST_EQ(status, i < 5 ? 0 : ELOOP << 8);
    }
}

FN_TEST(too_big)
{
    static char *argv[400000];
    size_t n = 131072;
    char *big = malloc(n + 1);
    memset(big, 'b', n);
    big[n] = 0;
    self_path();
    setenv("TEST_EXEC", "c", 1);
    argv[0] = "x", argv[1] = big;
    TEST_ERRNO(execv(self, argv), E2BIG);
    big[n - 1] = 0;
    TEST_CHILD({ execv(self, argv); _exit(1); });
    /* The sum of strings and pointers: a quarter of the stack limit. */
    big[n - 1] = 'b', big[1000] = 0;
    struct rlimit limit = {8 << 20, RLIM_INFINITY};
    TEST_SUCC(setrlimit(RLIMIT_STACK, &limit));
    for (int i = 1; i < 1900; i++)
        argv[i] = big;
    TEST_CHILD({ execv(self, argv); _exit(1); });
    for (int i = 1; i < 2200; i++)
        argv[i] = big;
    TEST_ERRNO(execv(self, argv), E2BIG);
    limit.rlim_cur = 64 << 20;
    TEST_SUCC(setrlimit(RLIMIT_STACK, &limit));
    TEST_CHILD({ execv(self, argv); _exit(1); });
    for (int i = 1; i < 6500; i++)
        argv[i] = big;
    TEST_ERRNO(execv(self, argv), E2BIG);
    limit.rlim_cur = 8 << 20;
    TEST_SUCC(setrlimit(RLIMIT_STACK, &limit));
    memset(argv, 0, sizeof argv);
    for (int i = 0; i < 270000; i++)
        argv[i] = "";
    TEST_ERRNO(execv(self, argv), E2BIG);
    memset(argv, 0, sizeof argv);
    for (int i = 0; i < 200000; i++)
        argv[i] = "";
    TEST_CHILD({ execv(self, argv); _exit(1); });
    unsetenv("TEST_EXEC");
    free(big);
}

static int execveat_status(int fd, const char *path, int flags)
{
    static char *argv[] = {"x", NULL};
    static char *envp[] = {"TEST_EXEC=l", NULL};
    int status = TEST_CHILD_STATUS({ syscall(SYS_execveat, fd, path, argv, envp, flags); _exit(errno); });
    return status >> 8;
}

FN_TEST(execveat)
{
    int fd = TEST_SUCC(open(self_path(), O_RDONLY | O_CLOEXEC));
    int path_fd = TEST_SUCC(open(self_path(), O_PATH | O_CLOEXEC));
    int root = TEST_SUCC(open("/", O_RDONLY | O_DIRECTORY));
    TEST_EQ(execveat_status(fd, "", AT_EMPTY_PATH), 0);
    TEST_EQ(execveat_status(path_fd, "", AT_EMPTY_PATH), 0);
    TEST_EQ(execveat_status(fd, "", 0), ENOENT);
    TEST_EQ(execveat_status(99, "", AT_EMPTY_PATH), EBADF);
    TEST_EQ(execveat_status(99, self, 0), 0);
    TEST_EQ(execveat_status(99, "x", 0), EBADF);
    TEST_EQ(execveat_status(fd, "x", 0), ENOTDIR);
    TEST_EQ(execveat_status(root, self + 1, 0), 0);
    TEST_EQ(execveat_status(root, "", AT_EMPTY_PATH), EACCES);
    TEST_EQ(execveat_status(root, "no-such-program", 0), ENOENT);
    TEST_EQ(execveat_status(fd, "", AT_EMPTY_PATH | 0x8000), EINVAL);
    unlink("link");
    TEST_SUCC(symlink(self, "link"));
    TEST_EQ(execveat_status(AT_FDCWD, "link", 0), 0);
    TEST_EQ(execveat_status(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW), ELOOP);
    /* A script by descriptor: its interpreter must be able to open it. */
    FILE_OF("script", "#!/bin/sh\nexit 5\n");
    int script = TEST_SUCC(open("script", O_RDONLY));
    TEST_EQ(execveat_status(script, "", AT_EMPTY_PATH), 5);
    TEST_SUCC(fcntl(script, F_SETFD, FD_CLOEXEC));
    TEST_EQ(execveat_status(script, "", AT_EMPTY_PATH), ENOENT);
    close(fd), close(path_fd), close(root), close(script);
}

FN_TEST(text_busy)
{
    struct small_elf e = small(1);
    write_file("busy", &e, sizeof e, 0755);
    int fd = TEST_SUCC(open("busy", O_WRONLY));
    TEST_ERRNO(execl("./busy", "busy", NULL), ETXTBSY);
    TEST_SUCC(close(fd));
    int status = TEST_CHILD_STATUS({ execl("./busy", "busy", NULL); _exit(1); });
    TEST_EQ(status, 7 << 8);
}

FN_TEST(name_of_the_program)
{
    char out[64] = "";
    int p[2];
    TEST_SUCC(pipe(p));
    FILE_OF("a_script_with_a_long_name", "#!/bin/sh\ncat /proc/$$/comm\n");
    TEST_CHILD({ dup2(p[1], 1); execl("./a_script_with_a_long_name", "x", NULL); _exit(1); });
    TEST_SUCC(read(p[0], out, sizeof out - 1));
    TEST_STR(out, "a_script_with_a\n");
    close(p[0]), close(p[1]);
}
