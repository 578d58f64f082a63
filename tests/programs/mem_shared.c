/* MAP_SHARED, file mappings and the page cache: one truth for stores, read(), write() and every process. */
#include "test.h"

static int file_of(const char *name, int pages)
{
    int fd = TEST_SUCC(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));
    unsigned char page[TEST_PAGE];
    for (int i = 0; i < pages; i++) {
        memset(page, 'a' + i, sizeof page);
        TEST_RES(write(fd, page, sizeof page), _ret == (long)sizeof page);
    }
    return fd;
}

static int byte_at(int fd, off_t at)
{
    unsigned char b;
    return TEST_RES(pread(fd, &b, 1, at), _ret == 0 || _ret == 1) == 1 ? b : -1;
}

FN_TEST(shared_anonymous_across_fork)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 4 * TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    TEST_EQ(p[3 * TEST_PAGE], 0);
    p[0] = 1;
    TEST_CHILD({
        TEST_EQ(p[0], 1);
        p[0] = 2;
        p[TEST_PAGE] = 3; /* first touched by the child */
        TEST_CHILD({ p[2 * TEST_PAGE] = 4; });
    });
    TEST_EQ(p[0], 2);
    TEST_EQ(p[TEST_PAGE], 3);
    TEST_EQ(p[2 * TEST_PAGE], 4);
    TEST_SUCC(munmap(p, 4 * TEST_PAGE));
}

FN_TEST(shared_anonymous_outlives_its_creator)
{
    int fds[2];
    char c;
    TEST_SUCC(pipe(fds));
    TEST_CHILD({
        unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
        p[0] = 1;
        pid_t creator = getpid();
        if (TEST_SUCC(fork()) == 0) {
            while (getppid() == creator)
                usleep(1000);
            c = p[0] + 1;
            TEST_SUCC(write(fds[1], &c, 1));
            _exit(0);
        }
    });
    TEST_SUCC(close(fds[1]));
    TEST_RES(read(fds[0], &c, 1), _ret == 1);
    TEST_EQ(c, 2);
    close(fds[0]);
}

FN_TEST(shared_file_and_read_write)
{
    int fd = file_of("shared.tmp", 3);
    unsigned char *p = TEST_SUCC(mmap(NULL, 3 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    TEST_EQ(p[0], 'a');
    TEST_EQ(p[2 * TEST_PAGE + 9], 'c');
    p[10] = 'X';
    TEST_EQ(byte_at(fd, 10), 'X'); /* store → read */
    TEST_RES(pwrite(fd, "YZ", 2, TEST_PAGE - 1), _ret == 2);
    TEST_EQ(p[TEST_PAGE - 1], 'Y'); /* write → load */
    TEST_EQ(p[TEST_PAGE], 'Z');
    int other = TEST_SUCC(open("shared.tmp", O_RDWR));
    TEST_EQ(byte_at(other, 10), 'X');
    unsigned char *q = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, other, TEST_PAGE));
    q[5] = '5';
    TEST_EQ(p[TEST_PAGE + 5], '5');
    close(fd); /* the mapping holds the file */
    p[2 * TEST_PAGE] = '!';
    TEST_EQ(byte_at(other, 2 * TEST_PAGE), '!');
    TEST_SUCC(munmap(p, 3 * TEST_PAGE));
    TEST_EQ(byte_at(other, 2 * TEST_PAGE), '!');
    close(other);
    unlink("shared.tmp");
}

FN_TEST(shared_file_left_behind)
{
    /* What a store leaves in the file: the harness compares the file itself. */
    int fd = file_of("left-behind", 2);
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    close(fd);
    TEST_CHILD({ p[TEST_PAGE + 1] = '#'; });
    p[1] = '*';
    TEST_EQ(p[TEST_PAGE + 1], '#');
}

FN_TEST(private_file_mapping)
{
    int fd = file_of("private.tmp", 2);
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    p[0] = '1';
    TEST_EQ(byte_at(fd, 0), 'a');
    TEST_CHILD({ p[1] = '2'; p[TEST_PAGE] = '3'; TEST_EQ(p[0], '1'); });
    TEST_EQ(p[1], 'a');
    TEST_EQ(p[TEST_PAGE], 'b');
    TEST_RES(pwrite(fd, "9", 1, 1), _ret == 1);
    TEST_EQ(p[1], 'a'); /* this page has been copied */
    TEST_EQ(p[0], '1');
    close(fd);
    unlink("private.tmp");
}

FN_TEST(end_of_file_and_sigbus)
{
    int fd = file_of("short.tmp", 1);
    TEST_SUCC(ftruncate(fd, 100));
    unsigned char *p = TEST_SUCC(mmap(NULL, 3 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    TEST_EQ(p[99], 'a');
    TEST_EQ(p[100], 0); /* the rest of the last page reads zero */
    TEST_NO_FAULT(TEST_POKE(p + 200, 1));
    TEST_FAULTS(SIGBUS, BUS_ADRERR, p + TEST_PAGE + 7, TEST_PEEK(p + TEST_PAGE + 7));
    TEST_FAULTS(SIGBUS, BUS_ADRERR, p + 2 * TEST_PAGE, TEST_POKE(p + 2 * TEST_PAGE, 1));
    TEST_ERRNO(write(1, p + TEST_PAGE, 10), EFAULT);
    TEST_SUCC(ftruncate(fd, 2 * TEST_PAGE)); /* the page comes into being */
    TEST_EQ(p[TEST_PAGE + 7], 0);
    p[TEST_PAGE + 7] = 4;
    TEST_EQ(byte_at(fd, TEST_PAGE + 7), 4);
    TEST_EQ(byte_at(fd, 150), 0);
    struct stat st;
    TEST_SUCC(fstat(fd, &st));
    TEST_EQ(st.st_size, 2 * TEST_PAGE);
    close(fd);
    unlink("short.tmp");
}

FN_TEST(truncate_takes_pages_away)
{
    int fd = file_of("cut.tmp", 3);
    unsigned char *p = TEST_SUCC(mmap(NULL, 3 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    unsigned char *q = TEST_SUCC(mmap(NULL, 3 * TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    q[TEST_PAGE] = '9';
    TEST_EQ(p[2 * TEST_PAGE], 'c');
    TEST_SUCC(ftruncate(fd, TEST_PAGE));
    TEST_FAULTS(SIGBUS, BUS_ADRERR, p + TEST_PAGE, TEST_PEEK(p + TEST_PAGE));
    TEST_FAULTS(SIGBUS, BUS_ADRERR, q + TEST_PAGE, TEST_PEEK(q + TEST_PAGE)); /* private copies too */
    TEST_SUCC(ftruncate(fd, 3 * TEST_PAGE));
    TEST_EQ(p[TEST_PAGE], 0);
    TEST_EQ(p[2 * TEST_PAGE], 0);
    close(fd);
    unlink("cut.tmp");
}

FN_TEST(truncate_zeroes_the_tail)
{
    int fd = file_of("tail.tmp", 1);
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0));
    TEST_SUCC(ftruncate(fd, 10));
    TEST_SUCC(ftruncate(fd, 100));
    TEST_EQ(p[9], 'a');
    TEST_EQ(p[10], 0);
    TEST_EQ(byte_at(fd, 50), 0);
    close(fd);
    unlink("tail.tmp");
}

FN_TEST(offsets)
{
    int fd = file_of("offset.tmp", 5);
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, PROT_READ, MAP_SHARED, fd, 3 * TEST_PAGE));
    TEST_EQ(p[0], 'd');
    TEST_EQ(p[TEST_PAGE], 'e');
    TEST_ERRNO(syscall(SYS_mmap, NULL, TEST_PAGE, PROT_READ, MAP_SHARED, fd, 100), EINVAL);
    TEST_ERRNO(syscall(SYS_mmap, NULL, TEST_PAGE, PROT_READ, MAP_SHARED, fd, -TEST_PAGE), EOVERFLOW);
    close(fd);
    unlink("offset.tmp");
}

FN_TEST(access_modes)
{
    int fd = file_of("modes.tmp", 1);
    close(fd);
    fd = TEST_SUCC(open("modes.tmp", O_RDONLY));
    TEST_ERRNO(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0), EACCES);
    TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    close(fd);
    fd = TEST_SUCC(open("modes.tmp", O_WRONLY));
    TEST_ERRNO(mmap(NULL, TEST_PAGE, PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    TEST_ERRNO(mmap(NULL, TEST_PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EACCES);
    close(fd);
    fd = TEST_SUCC(open("modes.tmp", O_PATH));
    TEST_ERRNO(mmap(NULL, TEST_PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EBADF);
    close(fd);
    fd = TEST_SUCC(open("/", O_RDONLY | O_DIRECTORY));
    TEST_ERRNO(mmap(NULL, TEST_PAGE, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
    close(fd);
    unlink("modes.tmp");
}

FN_TEST(shared_file_across_fork_and_dup)
{
    int fd = file_of("fork.tmp", 1);
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0));
    TEST_CHILD({
        p[0] = 'A';
        TEST_RES(pwrite(fd, "B", 1, 1), _ret == 1);
        TEST_SUCC(munmap(p, TEST_PAGE));
    });
    TEST_EQ(p[0], 'A');
    TEST_EQ(p[1], 'B');
    TEST_CHILD({
        int again = TEST_SUCC(open("fork.tmp", O_RDWR));
        unsigned char *q = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, again, 0));
        TEST_EQ(q[0], 'A');
        q[2] = 'C';
    });
    TEST_EQ(p[2], 'C');
    close(fd);
    unlink("fork.tmp");
}

FN_TEST(append_grows_under_a_mapping)
{
    int fd = file_of("grow.tmp", 1);
    unsigned char *p = TEST_SUCC(mmap(NULL, 4 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    TEST_FAULTS(SIGBUS, BUS_ADRERR, p + TEST_PAGE, TEST_PEEK(p + TEST_PAGE));
    TEST_RES(pwrite(fd, "hello", 5, 2 * TEST_PAGE), _ret == 5);
    TEST_EQ(p[TEST_PAGE], 0);
    TEST_EQ(memcmp(p + 2 * TEST_PAGE, "hello", 5), 0);
    close(fd);
    unlink("grow.tmp");
}

FN_TEST(read_into_and_write_from_a_mapping_of_the_same_file)
{
    int fd = file_of("self.tmp", 2);
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    TEST_RES(pwrite(fd, p, TEST_PAGE, TEST_PAGE), _ret == (long)TEST_PAGE);
    TEST_EQ(p[TEST_PAGE + 100], 'a');
    memset(p, 'q', TEST_PAGE);
    TEST_RES(pread(fd, p + TEST_PAGE, TEST_PAGE, 0), _ret == (long)TEST_PAGE);
    TEST_EQ(p[2 * TEST_PAGE - 1], 'q');
    close(fd);
    unlink("self.tmp");
}

FN_TEST(unlinked_file_lives_in_its_mapping)
{
    int fd = file_of("gone.tmp", 1);
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0));
    unlink("gone.tmp");
    close(fd);
    p[0] = 1;
    TEST_CHILD({ TEST_EQ(p[0], 1); TEST_EQ(p[1], 'a'); p[1] = 2; });
    TEST_EQ(p[1], 2);
}

FN_TEST(memfd)
{
    int fd = TEST_SUCC(memfd_create("m", MFD_CLOEXEC));
    TEST_SUCC(ftruncate(fd, 2 * TEST_PAGE));
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    p[TEST_PAGE] = 5;
    TEST_EQ(byte_at(fd, TEST_PAGE), 5);
    TEST_CHILD({ p[0] = 6; });
    TEST_EQ(byte_at(fd, 0), 6);
    char link[64], path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    long n = TEST_SUCC(readlink(path, link, sizeof link - 1));
    link[n] = 0;
    TEST_STR(link, "/memfd:m (deleted)");
    close(fd);
}

FN_TEST(dev_zero)
{
    int fd = TEST_SUCC(open("/dev/zero", O_RDWR));
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    TEST_EQ(p[TEST_PAGE], 0);
    p[0] = 1;
    unsigned char *q = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0));
    q[0] = 1;
    TEST_CHILD({ q[0] = 2; p[0] = 3; });
    TEST_EQ(q[0], 2);
    TEST_EQ(p[0], 1);
    close(fd);
}

FN_TEST(dev_shm)
{
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/forkyard-test-%d", getpid());
    int fd = TEST_SUCC(open(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    TEST_SUCC(ftruncate(fd, TEST_PAGE));
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0));
    TEST_CHILD({
        int again = TEST_SUCC(open(path, O_RDWR));
        unsigned char *q = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, again, 0));
        q[8] = 8;
    });
    TEST_EQ(p[8], 8);
    TEST_SUCC(unlink(path));
    close(fd);
}

FN_TEST(shared_and_private_side_by_side)
{
    unsigned char *area = test_map(4 * TEST_PAGE);
    TEST_SUCC(mmap(area + TEST_PAGE, TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    for (int i = 0; i < 4; i++)
        area[i * TEST_PAGE] = i;
    TEST_CHILD({
        for (int i = 0; i < 4; i++)
            area[i * TEST_PAGE] += 10;
    });
    TEST_EQ(area[0], 0);
    TEST_EQ(area[TEST_PAGE], 11);
    TEST_EQ(area[2 * TEST_PAGE], 2);
}

FN_TEST(many_children_count_in_shared_memory)
{
    volatile int *count = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t pid[10];
    for (int i = 0; i < 10; i++)
        if ((pid[i] = TEST_SUCC(fork())) == 0) {
            for (int k = 0; k < 1000; k++)
                __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
            _exit(0);
        }
    for (int i = 0; i < 10; i++)
        TEST_REAP(pid[i]);
    TEST_EQ(*count, 10000);
}
