/* bench_forkaccess MIB ROUNDS STEPS READS,… KIND,…: fork, and a child that touches a part of MIB of memory (figure 8 of
 * the paper).
 *
 * The part is 0, 1/STEPS … STEPS/STEPS of the memory from its start, one word a page; READS percent of the pages are
 * read, the others written. The kinds of fork take turns at each point, so that what disturbs one disturbs all. Prints
 * `KIND:READS/part` and the time from before fork until the child has touched the last page. */
#include "bench.h"
#include <sys/wait.h>

#define PAGE 4096

static double *finished;

static void touch(char *memory, long pages, unsigned reads)
{
    for (long i = 0; i < pages; i++) {
        volatile long *word = (long *)(memory + i * PAGE);
        /* A fixed choice that has no period in common with the tables. */
        if ((unsigned)i * 2654435761u / 42949673u < reads)
            (void)*word;
        else
            (*word)++;
    }
}

static double once(char *memory, long pages, unsigned reads)
{
    int status;
    double start = now_ns();
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        touch(memory, pages, reads);
        *finished = now_ns();
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status)
        fail("waitpid");
    return *finished - start;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fputs("bench_forkaccess MIB ROUNDS STEPS READS,… KIND,…\n", stderr);
        return 2;
    }
    long mib = number(argc, argv, 1, 16), rounds = number(argc, argv, 2, 3), steps = number(argc, argv, 3, 10);
    char *reads[16], *kinds[8], name[64], *memory = populated(mib);
    int mixes = split(argv[4], reads, 16), count = split(argv[5], kinds, 8);
    long pages = (mib << 20) / PAGE;
    finished = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (finished == MAP_FAILED)
        fail("mmap");
    touch(memory, pages, 0);
    /* The first round is not counted: it takes its memory from the host. */
    for (long round = 0; round <= rounds; round++)
        for (int mix = 0; mix < mixes; mix++)
            for (long step = 0; step <= steps; step++)
                for (int kind = 0; kind < count; kind++) {
                    choose_fork(kinds[kind]);
                    double ns = once(memory, pages * step / steps, (unsigned)atoi(reads[mix]));
                    snprintf(name, sizeof name, "%s:%s/%ld", kinds[kind], reads[mix], step);
                    if (round > 0)
                        report_as(name, ns);
                }
    return 0;
}
