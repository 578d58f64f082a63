/* The signal frame: registers, FPU, alternate stacks, and changing what the program returns to. */
#include "test.h"
#include <math.h>
#include <ucontext.h>

static volatile sig_atomic_t count;
static volatile siginfo_t seen;
static sigjmp_buf out;

static void catch_with(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = flags | SA_SIGINFO;
    action.sa_sigaction = handler;
    TEST_SUCC(sigaction(signo, &action, NULL));
    count = 0;
}

/* -- every register survives a handler that ruins them all -- */

static void ruin(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info, (void)context;
    count++;
    __asm__ volatile("mov $-1, %%rax; mov %%rax, %%rcx; mov %%rax, %%rdx; mov %%rax, %%rsi; mov %%rax, %%rdi;"
                     "mov %%rax, %%r8; mov %%rax, %%r9; mov %%rax, %%r10; mov %%rax, %%r11;"
                     "pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm1; movdqa %%xmm0, %%xmm7; movdqa %%xmm0, %%xmm15;"
                     "finit; fldpi; fldpi; fldz"
                     ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
}

FN_TEST(all_registers_survive)
{
    catch_with(SIGTRAP, ruin, 0);
    for (unsigned long k = 1; k < 200; k++) {
        unsigned long in[14], got[14], flags_before, flags_after;
        for (int i = 0; i < 14; i++)
            in[i] = k * 0x0123456789abcdefUL + i * 0x1111111111111111UL;
        __asm__ volatile(
            "push %%rbx; push %%rbp\n\t"
            "push %1\n\t"
            "mov %0, %%rax\n\t"
            "mov 8(%%rax), %%rbx; mov 16(%%rax), %%rcx; mov 24(%%rax), %%rdx; mov 32(%%rax), %%rsi\n\t"
            "mov 40(%%rax), %%rdi; mov 48(%%rax), %%r8; mov 56(%%rax), %%r9; mov 64(%%rax), %%r10\n\t"
            "mov 72(%%rax), %%r11; mov 80(%%rax), %%r12; mov 88(%%rax), %%r13; mov 96(%%rax), %%r14\n\t"
            "mov 104(%%rax), %%r15; mov (%%rax), %%rax; stc\n\t"
            "int3\n\t"
            "push %%rax; mov 8(%%rsp), %%rax\n\t"
            "mov %%rbx, 8(%%rax); mov %%rcx, 16(%%rax); mov %%rdx, 24(%%rax); mov %%rsi, 32(%%rax)\n\t"
            "mov %%rdi, 40(%%rax); mov %%r8, 48(%%rax); mov %%r9, 56(%%rax); mov %%r10, 64(%%rax)\n\t"
            "mov %%r11, 72(%%rax); mov %%r12, 80(%%rax); mov %%r13, 88(%%rax); mov %%r14, 96(%%rax)\n\t"
            "mov %%r15, 104(%%rax); pop %%rbx; mov %%rbx, (%%rax)\n\t"
            "pop %%rax; pop %%rbp; pop %%rbx"
            :: "r"(in), "r"(got)
            : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
        if (memcmp(in, got, sizeof in))
            test_fail(__FILE__, __LINE__, "a register changed in round %lu", k);
        __asm__ volatile("sub $128, %%rsp; stc; pushf; pop %0; int3; pushf; pop %1; add $128, %%rsp"
                         : "=&r"(flags_before), "=&r"(flags_after) :: "memory", "cc");
        TEST_EQ(flags_before, flags_after);
    }
    TEST_EQ(count, 398);
}

FN_TEST(fpu_and_sse_survive)
{
    catch_with(SIGUSR1, ruin, 0);
    static unsigned char in[256] __attribute__((aligned(16))), got[256] __attribute__((aligned(16)));
    for (int i = 0; i < 256; i++)
        in[i] = i * 7 + 3;
    long pid = getpid(), ret;
    double a = 1.25, b = -3.5, sum = 0, other = 0;
    unsigned short cw = 0x0f7f, cw_after = 0;
    unsigned mxcsr = 0x7f80, mxcsr_after = 0;
    __asm__ volatile(
        "fninit; fldcw %[cw]; fldl %[a]; fldl %[b]; ldmxcsr %[mxcsr]\n\t"
        "movdqa (%[in]), %%xmm0; movdqa 16(%[in]), %%xmm1; movdqa 32(%[in]), %%xmm2; movdqa 112(%[in]), %%xmm7\n\t"
        "movdqa 128(%[in]), %%xmm8; movdqa 240(%[in]), %%xmm15\n\t"
        "syscall\n\t"
        "movdqa %%xmm0, (%[got]); movdqa %%xmm1, 16(%[got]); movdqa %%xmm2, 32(%[got]); movdqa %%xmm7, 112(%[got])\n\t"
        "movdqa %%xmm8, 128(%[got]); movdqa %%xmm15, 240(%[got])\n\t"
        "stmxcsr %[mxcsr_after]; fnstcw %[cw_after]; fstpl %[other]; fstpl %[sum]; fninit"
        : "=a"(ret), [sum] "=m"(sum), [other] "=m"(other), [cw_after] "=m"(cw_after), [mxcsr_after] "=m"(mxcsr_after)
        : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1), [in] "r"(in), [got] "r"(got), [cw] "m"(cw), [a] "m"(a), [b] "m"(b),
          [mxcsr] "m"(mxcsr)
        : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm7", "xmm8", "xmm15");
    unsigned mxcsr_default = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr_default));
    TEST_EQ(ret, 0);
    TEST_EQ(count, 1);
    TEST_CHECK(!memcmp(in, got, 48) && !memcmp(in + 112, got + 112, 32) && !memcmp(in + 240, got + 240, 16));
    TEST_CHECK(sum == 1.25 && other == -3.5);
    TEST_EQ(cw_after, 0x0f7f);
    TEST_EQ(mxcsr_after, 0x7f80);
}

static unsigned short handler_cw;
static unsigned handler_mxcsr, handler_flags;

static void note_state(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info, (void)context;
    unsigned long flags;
    __asm__ volatile("fnstcw %0; stmxcsr %1; pushf; pop %2" : "=m"(handler_cw), "=m"(handler_mxcsr), "=r"(flags));
    handler_flags = flags;
    count++;
}

FN_TEST(handlers_start_with_a_clean_fpu_and_direction)
{
    catch_with(SIGUSR1, note_state, 0);
    unsigned short cw = 0x0f7f, plain = 0x37f;
    unsigned mxcsr = 0x7f80, mxcsr_default = 0x1f80;
    long ret;
    __asm__ volatile("fldcw %2; ldmxcsr %3; std; syscall; cld; fldcw %6; ldmxcsr %7"
                     : "=a"(ret) : "a"(SYS_kill), "m"(cw), "m"(mxcsr), "D"((long)getpid()), "S"(SIGUSR1),
                       "m"(plain), "m"(mxcsr_default) : "rcx", "r11", "memory");
    TEST_EQ(ret, 0);
    TEST_EQ(handler_cw, 0x37f);
    TEST_EQ(handler_mxcsr & 0xffc0, 0x1f80);
    TEST_CHECK(!(handler_flags & 0x400));
}

/* -- what the frame contains -- */

static ucontext_t *frame_uc;
static unsigned long frame_sp, frame_flags, fp_address;
static greg_t gregs[NGREG];
static unsigned frame_fcw, frame_mxcsr;
static double frame_xmm3;

static void inspect(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    ucontext_t *uc = context;
    count++;
    frame_uc = uc;
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
    memcpy(gregs, uc->uc_mcontext.gregs, sizeof gregs);
    frame_flags = uc->uc_flags;
    fp_address = (unsigned long)uc->uc_mcontext.fpregs;
    unsigned char *fx = (unsigned char *)uc->uc_mcontext.fpregs;
    memcpy(&frame_mxcsr, fx + 24, 4);
    frame_fcw = fx[0] | fx[1] << 8;
    memcpy(&frame_xmm3, fx + 160 + 3 * 16, 8);
    frame_sp = (unsigned long)__builtin_frame_address(0);
}

FN_TEST(layout_of_the_frame)
{
    catch_with(SIGUSR1, inspect, 0);
    unsigned long sp;
    double x = 6.75;
    long ret;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    __asm__ volatile("movsd %4, %%xmm3; mov %%rsp, %1; mov $0x1234, %%r15; syscall" : "=a"(ret), "=&r"(sp)
                     : "a"(SYS_kill), "D"((long)getpid()), "m"(x), "S"(SIGUSR1)
                     : "rcx", "r11", "r15", "xmm3", "memory");
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
    TEST_EQ(count, 1);
    TEST_EQ(gregs[REG_RSP], sp);
    TEST_EQ(gregs[REG_R15], 0x1234);
    TEST_EQ(gregs[REG_RAX], 0);
    TEST_EQ(gregs[REG_RSI], SIGUSR1);
    TEST_EQ(gregs[REG_CSGSFS] & 0xffff, 0x33);
    TEST_EQ(gregs[REG_RCX], gregs[REG_RIP]); /* as SYSCALL left it */
    TEST_EQ(gregs[REG_OLDMASK], 1 << (SIGUSR2 - 1));
    TEST_EQ(*(unsigned char *)(gregs[REG_RIP] - 2), 0x0f);
    TEST_EQ(fp_address % 64, 0);
    TEST_CHECK(fp_address <= sp - 128 - 512);
    TEST_CHECK((unsigned long)frame_uc < fp_address);
    TEST_EQ((unsigned long)frame_uc % 16, 0);
    TEST_EQ(frame_flags & 6, 6);
    TEST_EQ(frame_fcw, 0x37f);
    TEST_EQ(frame_mxcsr & ~0x3fu, 0x1f80);
    TEST_CHECK(frame_xmm3 == 6.75);
    TEST_CHECK(frame_sp < (unsigned long)frame_uc);
}

FN_TEST(red_zone_is_kept)
{
    catch_with(SIGTRAP, ruin, 0);
    unsigned long bad;
    __asm__ volatile("mov $16, %%rcx\n"
                     "1: mov %%rcx, -136(%%rsp,%%rcx,8); dec %%rcx; jnz 1b\n\t"
                     "int3\n\t"
                     "xor %0, %0; mov $16, %%rcx\n"
                     "2: cmp %%rcx, -136(%%rsp,%%rcx,8); je 3f; inc %0\n"
                     "3: dec %%rcx; jnz 2b"
                     : "=&r"(bad) :: "rcx", "memory", "cc");
    TEST_EQ(bad, 0);
}

/* -- changing the context -- */

static void skip(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    ucontext_t *uc = context;
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
    count++;
    uc->uc_mcontext.gregs[REG_RIP] += uc->uc_mcontext.gregs[REG_R12];
    uc->uc_mcontext.gregs[REG_RAX] = 0xfeed;
}

FN_TEST(skip_a_faulting_load)
{
    catch_with(SIGSEGV, skip, 0);
    for (int i = 0; i < 300; i++) {
        unsigned long got;
        unsigned long address = 0x10000 + i;
        __asm__ volatile("mov $1f - 0f, %%r12\n0: mov (%1), %%rax\n1:" : "=a"(got) : "b"(address) : "r12", "memory");
        TEST_EQ(got, 0xfeed);
        TEST_EQ(seen.si_addr, address);
        TEST_EQ(seen.si_code, SEGV_MAPERR);
    }
    TEST_EQ(count, 300);
    signal(SIGSEGV, SIG_DFL);
}

FN_TEST(skip_ud2_and_division)
{
    catch_with(SIGILL, skip, 0);
    unsigned long got, at;
    __asm__ volatile("mov $2, %%r12; lea 0f(%%rip), %1\n0: ud2" : "=a"(got), "=&r"(at) :: "r12", "memory");
    TEST_EQ(got, 0xfeed);
    TEST_EQ(seen.si_code, ILL_ILLOPN);
    TEST_EQ(seen.si_addr, at);
    catch_with(SIGFPE, skip, 0);
    __asm__ volatile("mov $3, %%r12; xor %%edx, %%edx; xor %%ecx, %%ecx; mov $5, %%eax; lea 0f(%%rip), %1\n"
                     "0: div %%rcx" : "=a"(got), "=&r"(at) :: "r12", "rcx", "rdx", "memory");
    TEST_EQ(got, 0xfeed);
    TEST_EQ(seen.si_code, FPE_INTDIV);
    TEST_EQ(seen.si_addr, at);
    signal(SIGILL, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
}

static void change_everything(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info;
    ucontext_t *uc = context;
    greg_t *g = uc->uc_mcontext.gregs;
    g[REG_RBX] = 1, g[REG_R8] = 2, g[REG_R14] = 3;
    g[REG_EFL] = 0xffffffffffffffff & ~0x100; /* without TF */
    sigaddset(&uc->uc_sigmask, SIGUSR2);
    unsigned char *fx = (unsigned char *)uc->uc_mcontext.fpregs;
    double y = 9.5;
    memcpy(fx + 160 + 5 * 16, &y, 8);
    count++;
}

FN_TEST(the_handler_may_change_registers_flags_mask_and_fpu)
{
    catch_with(SIGTRAP, change_everything, 0);
    unsigned long b, r8, r14, flags;
    double x5;
    __asm__ volatile("xor %%ebx, %%ebx; int3; movsd %%xmm5, %4; mov %%rbx, %0; lea -128(%%rsp), %%rsp; pushf; pop %3; cld;"
                     "pushq $0x202; popf; lea 128(%%rsp), %%rsp; mov %%r8, %1; mov %%r14, %2"
                     : "=&m"(b), "=&m"(r8), "=&m"(r14), "=&r"(flags), "=m"(x5)
                     :: "rbx", "r8", "r14", "xmm5", "memory", "cc");
    TEST_EQ(b, 1);
    TEST_EQ(r8, 2);
    TEST_EQ(r14, 3);
    TEST_CHECK(x5 == 9.5);
    /* IOPL, NT, VM and ID are not the frame's to set. AC is, but not every engine keeps it. */
    TEST_EQ(flags & 0xdd5, 0xcd5);
    TEST_EQ(flags & 0x3000, 0);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    TEST_CHECK(sigismember(&mask, SIGUSR2));
    sigdelset(&mask, SIGUSR2);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

static void bad_rip(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = 0x8000000000001000;
}

static void bad_fpstate(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info;
    ((ucontext_t *)context)->uc_mcontext.fpregs = (void *)0x1000;
}

static void bad_mxcsr(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info;
    unsigned char *fx = (unsigned char *)((ucontext_t *)context)->uc_mcontext.fpregs;
    memset(fx + 24, 0xff, 4);
    memset(fx + 464, 0, 48); /* no XSAVE area, whatever the kernel wrote */
}

static void jump_out(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
    siglongjmp(out, 1);
}

FN_TEST(bad_frames_are_sigsegv)
{
    void (*handlers[])(int, siginfo_t *, void *) = {bad_rip, bad_fpstate, bad_mxcsr};
    for (int i = 0; i < 3; i++) {
        catch_with(SIGUSR1, handlers[i], 0);
        catch_with(SIGSEGV, jump_out, 0);
        seen.si_code = 0;
        if (!sigsetjmp(out, 1)) {
            raise(SIGUSR1);
            test_fail(__FILE__, __LINE__, "frame %d was taken", i);
        }
        TEST_EQ(seen.si_signo, SIGSEGV);
        TEST_EQ(seen.si_code, SI_KERNEL);
        signal(SIGSEGV, SIG_DFL);
        int status = TEST_CHILD_STATUS(raise(SIGUSR1));
        TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
}

FN_TEST(sigreturn_out_of_the_blue)
{
    int status = TEST_CHILD_STATUS(__asm__ volatile("mov $15, %%eax; mov $0x1000, %%esp; syscall" ::: "rax", "memory"));
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

FN_TEST(no_stack_for_the_frame)
{
    int status = TEST_CHILD_STATUS({
        catch_with(SIGUSR1, ruin, 0);
        __asm__ volatile("mov $0x10000, %%rsp; syscall" :: "a"(SYS_kill), "D"((long)getpid()), "S"(SIGUSR1)
                         : "rcx", "r11", "memory");
    });
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    /* The SIGSEGV may be handled on another stack. */
    TEST_CHILD({
        static char alternate[65536];
        stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
        TEST_SUCC(sigaltstack(&ss, NULL));
        catch_with(SIGUSR1, ruin, 0);
        catch_with(SIGSEGV, jump_out, SA_ONSTACK);
        if (!sigsetjmp(out, 1)) {
            __asm__ volatile("mov $0x10000, %%rsp; syscall" :: "a"(SYS_kill), "D"((long)getpid()), "S"(SIGUSR1)
                             : "rcx", "r11", "memory");
            _exit(1);
        }
        TEST_EQ(seen.si_code, SI_KERNEL);
    });
}

FN_TEST(handler_without_restorer)
{
    int status = TEST_CHILD_STATUS({
        struct {
            void *handler;
            unsigned long flags;
            void *restorer;
            unsigned long mask;
        } action = {(void *)ruin, 0, NULL, 0};
        syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8);
        raise(SIGUSR1);
    });
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

FN_TEST(handler_at_an_impossible_address)
{
    static const unsigned long addresses[] = {0x1000, 0x8000000000000000, 0xffffffffff600000};
    for (int i = 0; i < 3; i++) {
        int status = TEST_CHILD_STATUS({
            struct sigaction action;
            memset(&action, 0, sizeof action);
            action.sa_handler = (void *)addresses[i];
            sigaction(SIGUSR1, &action, NULL);
            raise(SIGUSR1);
        });
        TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
}

/* -- alternate stacks -- */

static unsigned char alternate[65536] __attribute__((aligned(4096)));
static stack_t inside;
static volatile int change_result, change_errno;

static void on_stack(int signo, siginfo_t *info, void *context)
{
    (void)info;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), base = (uintptr_t)alternate;
    count += here >= base && here < base + sizeof alternate;
    sigaltstack(NULL, &inside);
    stack_t none = {.ss_flags = SS_DISABLE};
    change_result = sigaltstack(&none, NULL);
    change_errno = errno;
    if (signo == SIGUSR1)
        raise(SIGUSR2);
    ucontext_t *uc = context;
    TEST_CHECK(uc->uc_stack.ss_size == sizeof alternate);
}

FN_TEST(alternate_stack)
{
    stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
    TEST_SUCC(sigaltstack(&ss, &old));
    TEST_EQ(old.ss_flags, SS_DISABLE);
    TEST_EQ(old.ss_size, 0);
    catch_with(SIGUSR2, on_stack, SA_ONSTACK);
    catch_with(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    TEST_EQ(count, 2); /* nested: goes on on the same stack */
    TEST_EQ(inside.ss_flags, SS_ONSTACK);
    TEST_EQ(change_result, -1);
    TEST_EQ(change_errno, EPERM);
    catch_with(SIGUSR1, inspect, 0);
    raise(SIGUSR1);
    TEST_CHECK(frame_sp < (unsigned long)alternate || frame_sp > (unsigned long)alternate + sizeof alternate);
    TEST_SUCC(sigaltstack(NULL, &old));
    TEST_EQ(old.ss_sp, alternate);
    TEST_EQ(old.ss_flags, 0);
    ss.ss_flags = SS_DISABLE;
    TEST_SUCC(sigaltstack(&ss, NULL));
    TEST_SUCC(sigaltstack(NULL, &old));
    TEST_EQ(old.ss_flags, SS_DISABLE);
    TEST_EQ(old.ss_sp, NULL);
}

FN_TEST(alternate_stack_errors)
{
    stack_t ss = {.ss_sp = alternate, .ss_size = 2047};
    TEST_ERRNO(syscall(SYS_sigaltstack, &ss, NULL), ENOMEM);
    ss.ss_size = 65536;
    ss.ss_flags = 4;
    TEST_ERRNO(syscall(SYS_sigaltstack, &ss, NULL), EINVAL);
    TEST_ERRNO(syscall(SYS_sigaltstack, 8L, NULL), EFAULT);
    TEST_ERRNO(syscall(SYS_sigaltstack, NULL, 8L), EFAULT);
    ss.ss_flags = SS_ONSTACK;
    TEST_SUCC(syscall(SYS_sigaltstack, &ss, NULL));
    ss.ss_flags = SS_DISABLE;
    TEST_SUCC(syscall(SYS_sigaltstack, &ss, NULL));
}

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

FN_TEST(autodisarm)
{
    stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate, .ss_flags = SS_AUTODISARM}, now;
    TEST_SUCC(syscall(SYS_sigaltstack, &ss, NULL));
    catch_with(SIGUSR2, on_stack, SA_ONSTACK);
    raise(SIGUSR2);
    TEST_EQ(count, 1);
    TEST_EQ(inside.ss_flags, SS_DISABLE);
    TEST_EQ(change_result, 0);
    TEST_SUCC(sigaltstack(NULL, &now));
    TEST_EQ(now.ss_sp, alternate); /* the frame brings it back */
    TEST_EQ((unsigned)now.ss_flags, SS_AUTODISARM);
    ss.ss_flags = SS_DISABLE;
    TEST_SUCC(sigaltstack(&ss, NULL));
}

static int recurse(int n)
{
    volatile char here[1024];
    here[0] = n;
    return n ? recurse(n + 1) + here[0] : 0;
}

FN_TEST(stack_overflow_is_survived_on_the_alternate_stack)
{
    stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
    TEST_SUCC(sigaltstack(&ss, NULL));
    for (int i = 0; i < 3; i++) {
        catch_with(SIGSEGV, jump_out, SA_ONSTACK);
        if (!sigsetjmp(out, 1)) {
            recurse(1);
            test_fail(__FILE__, __LINE__, "endless recursion came back");
        }
        TEST_EQ(seen.si_signo, SIGSEGV);
    }
    int status = TEST_CHILD_STATUS(signal(SIGSEGV, (void (*)(int))jump_out); recurse(1));
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    ss.ss_flags = SS_DISABLE;
    TEST_SUCC(sigaltstack(&ss, NULL));
    signal(SIGSEGV, SIG_DFL);
}

static void eat_stack(int signo, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    /* Little stack between two frames: a stack pointer that has left the stack would start at its top again. */
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_kill), "D"((long)getpid()), "S"(signo) : "rcx", "r11", "memory");
}

FN_TEST(overflow_of_the_alternate_stack_is_fatal)
{
    int status = TEST_CHILD_STATUS({
        /* The second frame, if not the first, does not fit. */
        stack_t ss = {.ss_sp = alternate, .ss_size = 2048};
        syscall(SYS_sigaltstack, &ss, NULL);
        catch_with(SIGUSR1, eat_stack, SA_ONSTACK | SA_NODEFER);
        raise(SIGUSR1);
    });
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
