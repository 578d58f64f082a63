/*
 * Accesses outside both halves of the address space. Through the stack segment they are stack faults: SIGBUS and not
 * SIGSEGV. Every form of access is made with wild registers; the handler on its own stack sees them as they were.
 */
#include "test.h"
#include <ucontext.h>

#define WILD 0x1234567812345670
#define TO_RSP "movabs $0x1234567812345670, %rsp"
#define TO_RBP "movabs $0x1234567812345670, %rbp"
#define TO_RAX "movabs $0x1234567812345670, %rax"

static sigjmp_buf out;
static volatile siginfo_t seen;
static volatile long trapno, error_code, rip, rsp, rbp;

struct form {
    const char *name;
    void (*start)(void);
    char *at;
};

/* X(label, the registers, the instruction that faults) */
#define STACK_FORMS(X)                                                                                            \
    X(ret, TO_RSP, "ret") X(ret_more, TO_RSP, "ret $16") X(retf, TO_RSP, "lretq") X(iret, TO_RSP, "iretq")        \
    X(push, TO_RSP, "push %rax") X(push_word, TO_RSP, "push %ax") X(push_constant, TO_RSP, "push $5")             \
    X(push_rsp, TO_RSP, "push %rsp") X(pushf, TO_RSP, "pushf") X(push_fs, TO_RSP, "push %fs")                     \
    X(pop, TO_RSP, "pop %rax") X(pop_word, TO_RSP, "pop %ax") X(pop_rsp, TO_RSP, "pop %rsp")                      \
    X(popf, TO_RSP, "popf") X(pop_fs, TO_RSP, "pop %fs")                                                          \
    X(call, TO_RSP, "call .+5") X(call_register, TO_RSP "; lea main(%rip), %rax", "call *%rax")                   \
    X(leave, TO_RBP, "leave") X(enter, TO_RSP, "enter $16, $0") X(enter_frames, TO_RBP, "enter $16, $2")          \
    X(push_memory, "mov %rsp, %rax; " TO_RSP, "push (%rax)") X(pop_memory, "mov %rsp, %rax; " TO_RSP, "pop (%rax)") \
    X(pop_both, TO_RAX "; mov %rax, %rsp", "pop (%rax)") X(pop_by_rsp, TO_RSP, "pop 8(%rsp)")                     \
    X(read_rbp, TO_RBP, "mov 8(%rbp), %rax") X(read_rsp, TO_RSP, "mov 8(%rsp), %rax")                             \
    X(write_rbp, TO_RBP, "mov %rax, 8(%rbp)") X(write_rsp, TO_RSP, "mov %rax, 8(%rsp)")                           \
    X(rsp_index, TO_RAX "; xor %esp, %esp", "mov (%rsp,%rax), %rax")                                              \
    X(rbp_base, TO_RBP "; xor %eax, %eax", "mov (%rbp,%rax), %rax")                                               \
    X(rbp_base_small, TO_RAX "; xor %ebp, %ebp", "mov (%rbp,%rax), %rax")                                         \
    X(sum_only, "movabs $0x7fffffffffff, %rbp", "mov 0x7f000000(%rbp), %rax")                                     \
    X(cs_rbp, TO_RBP, ".byte 0x2e; mov 8(%rbp), %rax") X(ds_rbp, TO_RBP, ".byte 0x3e; mov 8(%rbp), %rax")         \
    X(es_rbp, TO_RBP, ".byte 0x26; mov 8(%rbp), %rax") X(ss_rbp, TO_RBP, ".byte 0x36; mov 8(%rbp), %rax")         \
    X(fs_ret, TO_RSP, ".byte 0x64; ret") X(fs_push, TO_RSP, ".byte 0x64; push %rax")                              \
    X(fs_leave, TO_RBP, ".byte 0x64; leave")                                                                      \
    X(call_memory, TO_RBP, "call *(%rbp)") X(jump_memory, TO_RBP, "jmp *8(%rbp)")                                 \
    X(locked, TO_RBP, "lock addl $1, (%rbp)") X(bits, TO_RBP "; xor %eax, %eax", "bt %rax, (%rbp)")               \
    X(aligned, TO_RBP, "movaps (%rbp), %xmm0") X(unaligned, TO_RBP, "movups %xmm0, 8(%rbp)")                      \
    X(strings, TO_RBP, "pcmpistri $0, 8(%rbp), %xmm0") X(half, TO_RBP, "movhps 8(%rbp), %xmm0")                   \
    X(x87, TO_RBP, "fldl (%rbp)") X(fxsave, TO_RBP, "fxsave (%rbp)")                                              \
    X(straddle, "movabs $0x7ffffffffffc, %rbp", "mov (%rbp), %rax")                                               \
    X(straddle_upper, "movabs $0xffff7ffffffffffc, %rbp", "mov (%rbp), %rax")                                     \
    X(straddle_pop, "movabs $0x7ffffffffffc, %rsp", "pop %rax")                                                   \
    X(push_below, "movabs $0xffff800000000000, %rsp", "push %rax")                                                \
    X(push_across, "movabs $0x800000000004, %rsp", "push %rax")

#define OTHER_FORMS(X)                                                                                            \
    X(read_rax, TO_RAX, "mov (%rax), %rax") X(write_rax, TO_RAX, "mov %rax, (%rax)")                              \
    X(rbp_index, TO_RBP "; xor %eax, %eax", "mov (%rax,%rbp), %rax")                                              \
    X(rbp_index_only, TO_RBP, "mov 0x1000(,%rbp,2), %rax") X(rbp_index_alone, TO_RBP, "mov 0x10(,%rbp,1), %rax")  \
    X(r12, "movabs $0x1234567812345670, %r12", "mov (%r12), %rax")                                                \
    X(r13, "movabs $0x1234567812345670, %r13", "mov (%r13), %rax")                                                \
    X(r13_rbp, TO_RBP "; xor %r13d, %r13d", "mov (%r13,%rbp), %rax")                                              \
    X(fs_rbp, TO_RBP, "mov %fs:8(%rbp), %rax") X(gs_rbp, TO_RBP, "mov %gs:8(%rbp), %rax")                         \
    X(fs_rsp, TO_RSP, "mov %fs:8(%rsp), %rax") X(ss_rax, TO_RAX, ".byte 0x36; mov (%rax), %rax")                  \
    X(push_from, TO_RAX, "push (%rax)") X(pop_to, TO_RAX, "pop (%rax)")                                           \
    X(push_both, TO_RAX "; mov %rax, %rsp", "push (%rax)") X(call_both, TO_RAX "; mov %rax, %rsp", "call *(%rax)") \
    X(copy_from, "movabs $0x1234567812345670, %rsi; mov %rsp, %rdi", "movsb")                                     \
    X(fill, "movabs $0x1234567812345670, %rdi; mov $5, %ecx", "rep stosb")                                        \
    X(table, "movabs $0x1234567812345670, %rbx", "xlat")                                                          \
    X(misaligned, TO_RBP, "movaps 8(%rbp), %xmm0") X(misaligned_sum, TO_RBP, "paddb 8(%rbp), %xmm0")              \
    X(misaligned_exchange, TO_RBP, "cmpxchg16b 8(%rbp)")                                                          \
    X(straddle_rax, "movabs $0x7ffffffffffc, %rax", "mov (%rax), %rax")

#define CODE(label, registers, instruction)                                                                       \
    extern char form_##label[], at_##label[];                                                                     \
    __asm__("form_" #label ": " registers "\nat_" #label ": " instruction "\nud2\n");
#define ENTRY(label, registers, instruction) {#label, (void (*)(void))form_##label, at_##label},

__asm__(".text");
STACK_FORMS(CODE)
OTHER_FORMS(CODE)
static const struct form stack_forms[] = {STACK_FORMS(ENTRY)}, other_forms[] = {OTHER_FORMS(ENTRY)};

static void jump(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
    trapno = g[REG_TRAPNO], error_code = g[REG_ERR], rip = g[REG_RIP], rsp = g[REG_RSP], rbp = g[REG_RBP];
    siglongjmp(out, 1);
}

static void catch(int flags)
{
    static char room[1 << 16];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = jump;
    action.sa_flags = SA_SIGINFO | flags;
    TEST_SUCC(sigaltstack(&stack, NULL));
    TEST_SUCC(sigaction(SIGBUS, &action, NULL));
    TEST_SUCC(sigaction(SIGSEGV, &action, NULL));
}

static void check(const struct form *form, int signo, int trap)
{
    if (!sigsetjmp(out, 1)) {
        form->start();
        test_fail(__FILE__, __LINE__, "%s: no signal", form->name);
    }
    if (seen.si_signo != signo || seen.si_code != SI_KERNEL || seen.si_addr || trapno != trap || error_code)
        test_fail(__FILE__, __LINE__, "%s: signal %d code %d addr %p trap %ld error %ld", form->name, seen.si_signo,
                  seen.si_code, seen.si_addr, trapno, error_code);
    if (rip != (long)form->at)
        test_fail(__FILE__, __LINE__, "%s: at %+ld", form->name, rip - (long)form->at);
}

FN_TEST(through_the_stack_segment)
{
    catch(SA_ONSTACK);
    for (unsigned i = 0; i < sizeof stack_forms / sizeof *stack_forms; i++)
        check(&stack_forms[i], SIGBUS, 12);
}

FN_TEST(through_other_segments)
{
    catch(SA_ONSTACK);
    for (unsigned i = 0; i < sizeof other_forms / sizeof *other_forms; i++)
        check(&other_forms[i], SIGSEGV, 13);
}

static void with(const char *name)
{
    for (unsigned i = 0; i < sizeof stack_forms / sizeof *stack_forms; i++)
        if (!strcmp(stack_forms[i].name, name))
            check(&stack_forms[i], SIGBUS, 12);
}

FN_TEST(registers_are_as_before)
{
    static const char *const by_rsp[] = {"ret", "push", "pop", "call", "enter", "iret", "pop_rsp", "push_rsp", "popf"};
    catch(SA_ONSTACK);
    for (unsigned i = 0; i < sizeof by_rsp / sizeof *by_rsp; i++) {
        with(by_rsp[i]);
        TEST_EQ(rsp, WILD);
    }
    with("leave");
    TEST_EQ(rbp, WILD);
    long before = rsp;
    with("enter_frames");
    TEST_EQ(rbp, WILD);
    TEST_EQ(rsp, before);
}

FN_TEST(thousands)
{
    catch(SA_ONSTACK);
    for (volatile int i = 0; i < 2000; i++)
        with(i % 2 ? "push" : "read_rbp");
}

FN_TEST(unhandled)
{
    int status = TEST_CHILD_STATUS(signal(SIGBUS, SIG_DFL); stack_forms[0].start());
    TEST_EQ(status & 0x7f, SIGBUS);
    status = TEST_CHILD_STATUS(signal(SIGBUS, SIG_IGN); stack_forms[0].start());
    TEST_EQ(status & 0x7f, SIGBUS);
    /* No frame fits on such a stack. */
    status = TEST_CHILD_STATUS(catch(0); stack_forms[0].start());
    TEST_EQ(status & 0x7f, SIGSEGV);
}

static char area[2 * TEST_PAGE] __attribute__((aligned(4096), used));

FN_TEST(address_of_a_pop_to_where_rsp_points)
{
    catch(SA_ONSTACK);
    TEST_SUCC(mprotect(area + TEST_PAGE, TEST_PAGE, PROT_NONE));
    if (!sigsetjmp(out, 1))
        __asm__ volatile("lea %0, %%rsp; pop 0x80(%%rsp)" : : "m"(area[TEST_PAGE - 16]) : "memory");
    TEST_EQ(seen.si_signo, SIGSEGV);
    TEST_EQ(trapno, 14);
    TEST_EQ(seen.si_addr, area + TEST_PAGE - 16 + 8 + 0x80); /* RSP has moved by then */
    TEST_SUCC(mprotect(area + TEST_PAGE, TEST_PAGE, RW));
}
