/* POSIX threads as libc makes them of clone, futex and set_tid_address. */
#include "test.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

#define THREADS 8

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long counter;

static void *add(void *argument)
{
    for (long i = 0; i < (long)argument; i++) {
        pthread_mutex_lock(&mutex);
        long seen = counter;
        if (i % 64 == 0)
            sched_yield();
        counter = seen + 1;
        pthread_mutex_unlock(&mutex);
    }
    return argument;
}

FN_TEST(create_join_and_mutex)
{
    pthread_t threads[THREADS];
    counter = 0;
    for (int i = 0; i < THREADS; i++)
        TEST_EQ(pthread_create(&threads[i], NULL, add, (void *)500L), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        TEST_EQ(pthread_join(threads[i], &result), 0);
        TEST_EQ(result, 500);
    }
    TEST_EQ(counter, THREADS * 500);
}

static volatile int spin_flag;

static void *spin_until(void *argument)
{
    (void)argument;
    while (!spin_flag)
        ;
    return NULL;
}

FN_TEST(spinning_threads_are_preempted)
{
    pthread_t threads[2];
    spin_flag = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, spin_until, NULL);
    usleep(20000);
    spin_flag = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static int turn;

static void *ping(void *argument)
{
    int me = (long)argument;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me)
            pthread_cond_wait(&cond, &mutex);
        turn = !me;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

FN_TEST(condition_variables)
{
    pthread_t a, b;
    turn = 0;
    pthread_create(&a, NULL, ping, (void *)0);
    pthread_create(&b, NULL, ping, (void *)1);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    TEST_EQ(turn, 0);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 20000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    pthread_mutex_lock(&mutex);
    TEST_EQ(pthread_cond_timedwait(&cond, &mutex, &t), ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
}

static pthread_barrier_t barrier;
static volatile int phase_count[20], serials;

static void *phases(void *argument)
{
    (void)argument;
    for (int i = 0; i < 20; i++) {
        __sync_fetch_and_add(&phase_count[i], 1);
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            __sync_fetch_and_add(&serials, 1);
        if (phase_count[i] != 4)
            return (void *)1;
    }
    return NULL;
}

FN_TEST(barriers)
{
    pthread_t threads[4];
    pthread_barrier_init(&barrier, NULL, 4);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, phases, NULL);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        TEST_EQ(result, 0);
    }
    TEST_EQ(serials, 20);
    pthread_barrier_destroy(&barrier);
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static volatile int readers, most_readers, writing, wrong;

static void *reader(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++) {
        pthread_rwlock_rdlock(&rwlock);
        int n = __sync_add_and_fetch(&readers, 1);
        if (n > most_readers)
            most_readers = n;
        wrong += writing;
        sched_yield();
        __sync_fetch_and_sub(&readers, 1);
        pthread_rwlock_unlock(&rwlock);
    }
    return NULL;
}

static void *writer(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++) {
        pthread_rwlock_wrlock(&rwlock);
        wrong += writing++ || readers;
        sched_yield();
        writing--;
        pthread_rwlock_unlock(&rwlock);
    }
    return NULL;
}

FN_TEST(reader_writer_locks)
{
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, i < 4 ? reader : writer, NULL);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    TEST_EQ(wrong, 0);
    TEST_CHECK(most_readers >= 1);
}

static __thread long local = 42;
static __thread char local_block[3000];
static pthread_key_t key;
static volatile int destroyed;

static void on_destroy(void *value) { destroyed += (long)value; }

static void *use_locals(void *argument)
{
    long n = (long)argument;
    if (local != 42 || local_block[2999])
        return (void *)1;
    for (int i = 0; i < 50; i++) {
        local = n + i;
        local_block[i] = n;
        sched_yield();
        if (local != n + i || local_block[i] != n)
            return (void *)2;
    }
    pthread_setspecific(key, (void *)n);
    return NULL;
}

FN_TEST(thread_local_storage)
{
    pthread_t threads[4];
    pthread_key_create(&key, on_destroy);
    destroyed = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, use_locals, (void *)(i + 1));
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        TEST_EQ(result, 0);
    }
    TEST_EQ(local, 42);
    TEST_EQ(destroyed, 10);
    pthread_key_delete(key);
}

static volatile int cleaned;

static void on_cleanup(void *argument) { cleaned += (long)argument; }

static void *cancellable(void *argument)
{
    (void)argument;
    pthread_cleanup_push(on_cleanup, (void *)1L);
    spin_flag = 1;
    for (;;)
        pause();
    pthread_cleanup_pop(0);
    return NULL;
}

static void *spin_cancellable(void *argument)
{
    (void)argument;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_cleanup_push(on_cleanup, (void *)10L);
    spin_flag = 1;
    for (volatile int i = 0;; i++)
        ;
    pthread_cleanup_pop(0);
    return NULL;
}

FN_TEST(cancellation)
{
    void *(*bodies[])(void *) = {cancellable, spin_cancellable};
    cleaned = 0;
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        void *result;
        spin_flag = 0;
        pthread_create(&thread, NULL, bodies[i], NULL);
        while (!spin_flag)
            sched_yield();
        usleep(10000);
        TEST_EQ(pthread_cancel(thread), 0);
        TEST_EQ(pthread_join(thread, &result), 0);
        TEST_EQ(result, (long)PTHREAD_CANCELED);
    }
    TEST_EQ(cleaned, 11);
}

static sem_t semaphore;

static void *poster(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++) {
        sem_post(&semaphore);
        sched_yield();
    }
    return NULL;
}

FN_TEST(semaphores)
{
    pthread_t thread;
    TEST_SUCC(sem_init(&semaphore, 0, 0));
    pthread_create(&thread, NULL, poster, NULL);
    for (int i = 0; i < 50; i++)
        TEST_SUCC(sem_wait(&semaphore));
    pthread_join(thread, NULL);
    TEST_ERRNO(sem_trywait(&semaphore), EAGAIN);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static volatile int once_count;

static void run_once(void) { once_count++; usleep(1000); }
static void *call_once(void *argument) { pthread_once(&once, run_once); return argument; }

FN_TEST(once_only)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, call_once, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    TEST_EQ(once_count, 1);
}

static void *detached(void *argument) { __sync_fetch_and_add((int *)argument, 1); return NULL; }

FN_TEST(many_short_lived_threads)
{
    static volatile int ended;
    ended = 0;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        TEST_EQ(pthread_create(&thread, NULL, detached, (void *)&ended), 0);
        if (i % 2)
            pthread_detach(thread);
        else
            pthread_join(thread, NULL);
    }
    while (ended < 100)
        usleep(1000);
}

static void *lock_and_die(void *argument)
{
    pthread_mutex_lock(argument);
    return NULL;
}

FN_TEST(robust_mutexes)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t robust;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);
    pthread_t thread;
    pthread_create(&thread, NULL, lock_and_die, &robust);
    pthread_join(thread, NULL);
    TEST_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
    TEST_EQ(pthread_mutex_consistent(&robust), 0);
    TEST_EQ(pthread_mutex_unlock(&robust), 0);
    TEST_EQ(pthread_mutex_lock(&robust), 0);
    TEST_EQ(pthread_mutex_unlock(&robust), 0);
}

FN_TEST(process_shared_mutex)
{
    struct {
        pthread_mutex_t mutex;
        volatile long count;
    } *shared = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &attr);
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = TEST_SUCC(fork());
        if (children[i] == 0) {
            for (int k = 0; k < 200; k++) {
                pthread_mutex_lock(&shared->mutex);
                long seen = shared->count;
                if (k % 16 == 0)
                    sched_yield();
                shared->count = seen + 1;
                pthread_mutex_unlock(&shared->mutex);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 3; i++)
        TEST_REAP(children[i]);
    TEST_EQ(shared->count, 600);
}

/* -- threads and signals -- */

static volatile pid_t handled_by;
static volatile int handled;

static void note_thread(int signo)
{
    (void)signo;
    handled_by = syscall(SYS_gettid);
    handled++;
}

static volatile pid_t waiter_tid;
static volatile int leave;

static void *wait_for_signals(void *argument)
{
    (void)argument;
    waiter_tid = syscall(SYS_gettid);
    while (!leave)
        usleep(1000);
    return NULL;
}

FN_TEST(signals_choose_a_thread)
{
    pthread_t thread;
    signal(SIGUSR1, note_thread);
    leave = handled = 0;
    waiter_tid = 0;
    pthread_create(&thread, NULL, wait_for_signals, NULL);
    while (!waiter_tid)
        usleep(1000);
    TEST_EQ(pthread_kill(thread, SIGUSR1), 0);
    while (handled < 1)
        usleep(1000);
    TEST_EQ(handled_by, waiter_tid);
    /* The main thread blocks it: one sent to the process goes to the other. */
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    kill(getpid(), SIGUSR1);
    while (handled < 2)
        usleep(1000);
    TEST_EQ(handled_by, waiter_tid);
    /* To the main thread itself it stays pending until it lets it in. */
    pthread_kill(pthread_self(), SIGUSR1);
    usleep(10000);
    TEST_EQ(handled, 2);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    TEST_EQ(handled, 3);
    TEST_EQ(handled_by, getpid());
    leave = 1;
    pthread_join(thread, NULL);
}

static void *sigwaiter(void *argument)
{
    sigset_t *set = argument;
    int signo, sum = 0;
    do {
        sigwait(set, &signo);
        sum += signo == SIGUSR1 ? 1 : 0;
    } while (signo != SIGUSR2);
    return (void *)(long)sum;
}

FN_TEST(a_thread_for_signals)
{
    pthread_t thread;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    pthread_create(&thread, NULL, sigwaiter, &set);
    sigset_t pending;
    for (int i = 0; i < 10; i++) {
        kill(getpid(), SIGUSR1);
        do {
            usleep(1000);
            sigpending(&pending);
        } while (sigismember(&pending, SIGUSR1));
    }
    kill(getpid(), SIGUSR2);
    void *result;
    pthread_join(thread, &result);
    TEST_EQ(result, 10);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

FN_TEST(fatal_signals_end_all_threads)
{
    int status = TEST_CHILD_STATUS({
        pthread_t thread;
        leave = 0;
        waiter_tid = 0;
        pthread_create(&thread, NULL, wait_for_signals, NULL);
        pthread_create(&thread, NULL, spin_until, NULL);
        spin_flag = 0;
        while (!waiter_tid)
            usleep(1000);
        signal(SIGUSR1, SIG_DFL);
        syscall(SYS_tgkill, getpid(), waiter_tid, SIGUSR1);
        for (;;)
            pause();
    });
    TEST_EQ(status, SIGUSR1);
}

static void *exit_group(void *argument)
{
    _exit((long)argument);
}

static void *outlive(void *argument)
{
    usleep(30000);
    _exit((long)argument);
}

static void *exec_true(void *argument)
{
    execlp("true", "true", NULL);
    return argument;
}

FN_TEST(ends_of_processes)
{
    pthread_t thread;
    int status = TEST_CHILD_STATUS(pthread_create(&thread, NULL, exit_group, (void *)7L); for (;;) pause());
    TEST_EQ(status, 7 << 8);
    /* The leader may leave first. */
    status = TEST_CHILD_STATUS(pthread_create(&thread, NULL, outlive, (void *)9L); syscall(SYS_exit, 3));
    TEST_EQ(status, 9 << 8);
    /* execve from another thread: the program takes the process's number. */
    status = TEST_CHILD_STATUS(pthread_create(&thread, NULL, exec_true, NULL); for (;;) pause());
    TEST_EQ(status, 0);
}

FN_TEST(fork_in_a_thread_takes_only_that_thread)
{
    pthread_t thread;
    leave = 0;
    waiter_tid = 0;
    pthread_create(&thread, NULL, wait_for_signals, NULL);
    while (!waiter_tid)
        usleep(1000);
    TEST_CHILD({
        TEST_EQ(syscall(SYS_gettid), getpid());
        TEST_ERRNO(syscall(SYS_tgkill, getpid(), waiter_tid, 0), ESRCH);
    });
    leave = 1;
    pthread_join(thread, NULL);
}

static void *fault_quietly(void *argument)
{
    long bad = 0;
    for (int i = 0; i < 100; i++) {
        static __thread sigjmp_buf out;
        (void)out;
        bad += local != 42;
        sched_yield();
    }
    (void)argument;
    return (void *)bad;
}

FN_TEST(thread_registers_are_their_own)
{
    pthread_t threads[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, fault_quietly, NULL);
    double x = 1.0;
    for (int i = 0; i < 200; i++) {
        x = x * 1.5 - x / 3.0;
        sched_yield();
    }
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        TEST_EQ(result, 0);
    }
    double y = 1.0;
    for (int i = 0; i < 200; i++)
        y = y * 1.5 - y / 3.0;
    TEST_CHECK(x == y);
}
