/* Carries out a list of steps (tests/model_steps.py) with several processes and prints what each step gives.
 *
 *     model READ-ONLY-FILE < steps        a step a line, as `store 1 515 0 7`: operation, slot of the process, numbers
 *
 * A controller reads the list and hands each step to the process (worker) in that slot; the result is a line: `ok`, a
 * negative errno, what was read, SEGV1 (SEGV_MAPERR), SEGV2 (SEGV_ACCERR), BUS2 (BUS_ADRERR), or `-` when nobody is
 * there. `reset` ends all workers and begins anew. Mappings live in an arena at a fixed address and in the heap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 5, ARGS = 7, PAGE = 4096, FILE_PAGES = 6, HEAP = 2048, SYS_ODFORK = 600 };
#define ARENA ((char *)0x1ffffe000) /* two pages before a GiB begins */

/* Descriptors that all workers inherit, through exec too. */
enum { COMMAND_IN = 100, COMMAND_OUT = 110, REPLY_IN = 120, REPLY_OUT, COPY_IN, COPY_OUT, MEMFD, READ_ONLY };

struct step {
    int operation, slot;
    long arg[ARGS];
};

struct reply {
    char text[56];
    int pid;
};

static char *heap;
static sigjmp_buf escape;
static char *expected_address;

/* ---- the worker --------------------------------------------------------------------------------------------- */

static char *address(long page) { return page < HEAP ? ARENA + page * PAGE : heap + (page - HEAP) * PAGE; }

static char *word(long page, long which) { return address(page) + (which ? PAGE - 8 : 0); }

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    int bad = (uintptr_t)info->si_addr - (uintptr_t)expected_address >= 8;
    siglongjmp(escape, (signal == SIGBUS ? 100 : 200) + info->si_code + (bad ? 1000 : 0));
}

static void say(struct reply *reply, long result)
{
    if (result < 0)
        sprintf(reply->text, "-%d", errno);
    else
        strcpy(reply->text, "ok");
}

/* The two words of a page, and the sum of the rest if that is not 0. */
static void say_page(struct reply *reply, const volatile uint64_t *page)
{
    uint64_t first = page[0], last = page[511], rest = 0;
    for (int i = 1; i < 511; i++)
        rest += page[i];
    if (rest)
        sprintf(reply->text, "%llu,%llu+%llu", (long long)first, (long long)last, (long long)rest);
    else
        sprintf(reply->text, "%llu,%llu", (long long)first, (long long)last);
}

static void do_mmap(struct reply *reply, const long *arg)
{
    /* kind: 0 private, 1 shared anonymous; 2 private, 3 shared memfd; 4 private, 5 shared read-only file; 6 huge */
    long kind = arg[3], offset = arg[4], extra = arg[5];
    int fd = kind < 2 || kind == 6 ? -1 : kind < 4 ? MEMFD : READ_ONLY;
    int flags = (kind & 1 ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0) | (kind == 6 ? MAP_HUGETLB : 0);
    flags |= extra & 1 ? MAP_FIXED_NOREPLACE : MAP_FIXED;
    flags |= extra & 2 ? MAP_POPULATE : 0;
    flags |= extra & 4 ? MAP_NORESERVE : 0;
    say(reply, mmap(address(arg[0]), arg[1] * PAGE, arg[2], flags, fd, offset * PAGE) == MAP_FAILED ? -1 : 0);
}

static void do_mremap(struct reply *reply, const long *arg)
{
    char *old = address(arg[0]), *place = address(arg[4]);
    long flags = arg[3];
    char *now = mremap(old, arg[1] * PAGE, arg[2] * PAGE, flags, flags & MREMAP_FIXED ? place : NULL);
    say(reply, now == MAP_FAILED ? -1 : 0);
    if (now == MAP_FAILED || flags & MREMAP_FIXED || now == old)
        return;
    /* The kernel chose where: bring it to a place that is the same everywhere. */
    now = mremap(now, arg[2] * PAGE, arg[2] * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    strcpy(reply->text, now == place ? "moved" : "stays");
}

static void do_store(struct reply *reply, char *where, uint64_t value)
{
    expected_address = where;
    *(volatile uint64_t *)where = value;
    strcpy(reply->text, "ok");
}

static void do_load(struct reply *reply, long page)
{
    expected_address = address(page);
    say_page(reply, (const volatile uint64_t *)address(page));
}

static void do_fill(struct reply *reply, long page, long count, uint64_t value)
{
    for (long i = 0; i < count; i++)
        do_store(reply, address(page + i), value + i);
    strcpy(reply->text, "ok");
}

static void do_digest(struct reply *reply, long page, long count)
{
    uint64_t total = 0;
    for (long i = 0; i < count; i++) {
        volatile uint64_t *at = (volatile uint64_t *)(expected_address = address(page + i));
        for (int j = 0; j < PAGE / 8; j++)
            total += (i + 1) * at[j];
    }
    sprintf(reply->text, "%llu", (long long)total);
}

/* A store by the kernel: read(2) into the page. */
static void do_put(struct reply *reply, char *where, uint64_t value)
{
    uint64_t drain;
    write(COPY_OUT, &value, 8);
    long got = read(COPY_IN, where, 8);
    say(reply, got);
    if (got < 0)
        read(COPY_IN, &drain, 8);
}

/* A load by the kernel: write(2) from the page. */
static void do_get(struct reply *reply, long page)
{
    static uint64_t copy[PAGE / 8];
    long got = write(COPY_OUT, address(page), PAGE);
    say(reply, got);
    if (got > 0 && read(COPY_IN, copy, got) == PAGE)
        say_page(reply, copy);
}

static void do_peek(struct reply *reply, pid_t pid, long page)
{
    static uint64_t copy[PAGE / 8];
    struct iovec ours = {copy, PAGE}, theirs = {address(page), PAGE};
    long got = process_vm_readv(pid, &ours, 1, &theirs, 1, 0);
    say(reply, got);
    if (got == PAGE)
        say_page(reply, copy);
}

static void do_poke(struct reply *reply, pid_t pid, char *where, uint64_t value)
{
    struct iovec ours = {&value, 8}, theirs = {where, 8};
    say(reply, process_vm_writev(pid, &ours, 1, &theirs, 1, 0));
}

static void do_brk(struct reply *reply, long pages)
{
    char *end = heap + pages * PAGE;
    strcpy(reply->text, (char *)syscall(SYS_brk, end) == end ? "ok" : "no");
}

static void do_file_read(struct reply *reply, long page)
{
    static uint64_t copy[PAGE / 8];
    memset(copy, 0, PAGE);
    pread(MEMFD, copy, PAGE, page * PAGE);
    say_page(reply, copy);
}

/* Where there is such a switch it must take what is written; elsewhere there is nothing to do. */
static void set_switch(struct reply *reply, const char *name, long value)
{
    char text[16] = "", wanted[16];
    int fd = open(name, O_RDWR);
    if (fd < 0)
        return;
    int length = sprintf(wanted, "%ld\n", value);
    if (write(fd, wanted, length) != length || pread(fd, text, 15, 0) != length || strcmp(text, wanted))
        strcpy(reply->text, "not taken");
    close(fd);
}

static void do_fork(struct reply *reply, long mode, int *slot, int to)
{
    pid_t pid = mode ? syscall(SYS_ODFORK) : -1;
    if (pid < 0 && (!mode || errno == ENOSYS))
        pid = fork();
    if (pid == 0)
        *slot = to;
    else
        say(reply, pid);
    reply->pid = pid;
}

static void begin_worker(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    for (int i = 0; i < SLOTS; i++)
        close(COMMAND_OUT + i);
    close(REPLY_IN);
    heap = (char *)(((uintptr_t)sbrk(0) + PAGE - 1) & -PAGE);
    syscall(SYS_brk, heap);
}

#define OPERATIONS(X) \
    X(mmap, 6) X(munmap, 2) X(mprotect, 3) X(mremap, 5) X(madvise, 3) X(msync, 2) X(brk, 1) X(store, 3) X(load, 1) \
    X(fill, 3) X(digest, 2) X(cross, 2) X(put, 3) X(get, 1) X(peek, 2) X(poke, 4) X(fwrite, 3) X(fread, 1) X(truncate, 1) X(fork, 2) \
    X(exit, 1) X(exec, 0) X(odf, 2)

#define NUMBER(name, count) OP_##name,
#define ROW(name, count) {#name, count},
enum { OPERATIONS(NUMBER) };
static const struct {
    const char *name;
    int count;
} operations[] = {OPERATIONS(ROW)};

static void run(const struct step *step, struct reply *reply, int *slot)
{
    const long *arg = step->arg;
    switch (step->operation) {
    case OP_mmap: do_mmap(reply, arg); break;
    case OP_munmap: say(reply, munmap(address(arg[0]), arg[1] * PAGE)); break;
    case OP_mprotect: say(reply, mprotect(address(arg[0]), arg[1] * PAGE, arg[2])); break;
    case OP_mremap: do_mremap(reply, arg); break;
    case OP_madvise: say(reply, madvise(address(arg[0]), arg[1] * PAGE, arg[2])); break;
    case OP_msync: say(reply, msync(address(arg[0]), arg[1] * PAGE, MS_SYNC)); break;
    case OP_brk: do_brk(reply, arg[0]); break;
    case OP_store: do_store(reply, word(arg[0], arg[1]), arg[2]); break;
    case OP_load: do_load(reply, arg[0]); break;
    case OP_fill: do_fill(reply, arg[0], arg[1], arg[2]); break;
    case OP_digest: do_digest(reply, arg[0], arg[1]); break;
    case OP_cross: do_store(reply, address(arg[0]) + PAGE - 4, (uint64_t)arg[1] << 32 | arg[1]); break;
    case OP_put: do_put(reply, word(arg[0], arg[1]), arg[2]); break;
    case OP_get: do_get(reply, arg[0]); break;
    case OP_peek: do_peek(reply, arg[0], arg[1]); break;
    case OP_poke: do_poke(reply, arg[0], word(arg[1], arg[2]), arg[3]); break;
    case OP_fwrite: {
        uint64_t value = arg[2];
        say(reply, pwrite(MEMFD, &value, 8, arg[0] * PAGE + (arg[1] ? PAGE - 8 : 0)));
        break;
    }
    case OP_fread: do_file_read(reply, arg[0]); break;
    case OP_truncate: say(reply, ftruncate(MEMFD, arg[0] * PAGE)); break;
    case OP_fork: do_fork(reply, arg[1], slot, arg[0]); break;
    case OP_exit:
        if (arg[0])
            kill(getpid(), SIGKILL);
        _exit(0);
    case OP_exec: {
        char number[2] = {'0' + *slot, 0};
        char *argv[] = {"model", "worker", number, NULL}, *none[] = {NULL};
        execve("/proc/self/exe", argv, none);
        say(reply, -1);
        break;
    }
    case OP_odf:
        strcpy(reply->text, "ok");
        set_switch(reply, "/proc/self/use_odf", arg[0]);
        set_switch(reply, "/proc/self/use_odf_level", arg[1]);
        break;
    }
}

static void work(int first_slot)
{
    static int slot;
    static struct step step;
    static struct reply reply;
    slot = first_slot;
    begin_worker();
    for (;;) {
        if (read(COMMAND_IN + slot, &step, sizeof step) != sizeof step)
            _exit(0);
        int before = slot;
        memset(&reply, 0, sizeof reply);
        int code = sigsetjmp(escape, 0);
        if (code == 0)
            run(&step, &reply, &slot);
        else
            sprintf(reply.text, "%s%d%s", code % 1000 < 200 ? "BUS" : "SEGV", code % 100, code > 1000 ? "@elsewhere" : "");
        if (slot == before)
            write(REPLY_OUT, &reply, sizeof reply);
    }
}

/* ---- the controller ----------------------------------------------------------------------------------------- */

static struct {
    pid_t pid;
    int pidfd;
} workers[SLOTS];

static void die(const char *what)
{
    printf("controller: %s: %s\n", what, strerror(errno));
    exit(3);
}

static void move_to(int fd, int wanted)
{
    if (fd < 0 || dup2(fd, wanted) < 0)
        die("descriptor");
    close(fd);
}

static void make_pipe(int in, int out)
{
    int fds[2];
    if (pipe(fds) < 0)
        die("pipe");
    move_to(fds[0], in);
    move_to(fds[1], out);
}

static void hire(int slot, pid_t pid)
{
    workers[slot].pid = pid;
    workers[slot].pidfd = syscall(SYS_pidfd_open, pid, 0);
    if (workers[slot].pidfd < 0)
        die("pidfd_open");
}

static void gone(int slot)
{
    close(workers[slot].pidfd);
    workers[slot].pid = 0;
}

static void begin(void)
{
    int fd = memfd_create("model", 0);
    if (fd < 0 || ftruncate(fd, FILE_PAGES * PAGE) < 0)
        die("memfd");
    move_to(fd, MEMFD);
    pid_t pid = fork();
    if (pid == 0)
        work(0);
    hire(0, pid);
}

static void end(void)
{
    for (int i = 0; i < SLOTS; i++)
        if (workers[i].pid) {
            kill(workers[i].pid, SIGKILL);
            struct pollfd poll_gone = {workers[i].pidfd, POLLIN, 0};
            poll(&poll_gone, 1, -1);
            gone(i);
        }
}

/* The worker's answer, or how it ended. */
static void answer(const struct step *step, struct reply *reply)
{
    struct pollfd either[2] = {{REPLY_IN, POLLIN, 0}, {workers[step->slot].pidfd, POLLIN, 0}};
    poll(either, 2, -1);
    if (either[0].revents & POLLIN) {
        read(REPLY_IN, reply, sizeof *reply);
        return;
    }
    gone(step->slot);
    strcpy(reply->text, step->operation == OP_exit ? "ok" : "died");
}

static void carry_out(struct step *step)
{
    struct reply reply = {"-", 0};
    int other = step->arg[0];
    int needs_other = step->operation == OP_peek || step->operation == OP_poke;
    if (needs_other && workers[step->slot].pid)
        step->arg[0] = workers[other].pid;
    int possible = workers[step->slot].pid && !(needs_other && !workers[other].pid);
    if (step->operation == OP_fork)
        possible = possible && !workers[other].pid;
    if (possible) {
        write(COMMAND_OUT + step->slot, step, sizeof *step);
        answer(step, &reply);
        if (step->operation == OP_fork && reply.pid > 0)
            hire(other, reply.pid);
    }
    puts(reply.text);
}

static int parse(char *line, struct step *step)
{
    char *rest, *name = strtok_r(line, " \n", &rest), *part;
    long numbers[ARGS + 1];
    int count = 0;
    while (count <= ARGS && (part = strtok_r(NULL, " \n", &rest)))
        numbers[count++] = atol(part);
    for (unsigned i = 0; name && i < sizeof operations / sizeof *operations; i++)
        if (!strcmp(name, operations[i].name) && count == operations[i].count + 1) {
            step->operation = i;
            step->slot = numbers[0];
            memcpy(step->arg, numbers + 1, (count - 1) * sizeof *numbers);
            return step->slot >= 0 && step->slot < SLOTS;
        }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "worker")) {
        struct reply done = {"ok", 0};
        write(REPLY_OUT, &done, sizeof done);
        work(atoi(argv[2]));
    }
    if (argc != 2)
        die("usage: model READ-ONLY-FILE < steps");
    signal(SIGCHLD, SIG_IGN); /* nobody becomes a zombie */
    for (int i = 0; i < SLOTS; i++)
        make_pipe(COMMAND_IN + i, COMMAND_OUT + i);
    make_pipe(REPLY_IN, REPLY_OUT);
    make_pipe(COPY_IN, COPY_OUT);
    move_to(open(argv[1], O_RDONLY), READ_ONLY);
    begin();
    char line[256];
    struct step step;
    while (fgets(line, sizeof line, stdin)) {
        if (!strcmp(line, "reset\n")) {
            end();
            begin();
            puts("reset");
        } else if (parse(line, &step)) {
            carry_out(&step);
        } else {
            printf("not a step: %s\n", line);
        }
    }
    end();
    return 0;
}
