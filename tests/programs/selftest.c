/* Does test.h itself work: some of these fail on purpose (tests/test_harness.py knows which). */
#include "test.h"

FN_TEST(passes)
{
    TEST_SUCC(getpid());
    TEST_ERRNO(close(-1), EBADF);
    TEST_RES(write(1, "", 0), _ret == 0);
    TEST_CHECK(1 + 1 == 2);
    TEST_CHILD({ TEST_EQ(1, 1); });
}

FN_TEST(succ_fails) { TEST_SUCC(close(-1)); }

FN_TEST(errno_fails) { TEST_ERRNO(close(-1), ENOENT); }

FN_TEST(child_fails) { TEST_CHILD({ TEST_STR("a", "b"); }); }

FN_TEST(child_dies)
{
    TEST_EQ(TEST_CHILD_STATUS({ kill(getpid(), SIGKILL); }), SIGKILL);
    TEST_CHILD({ _exit(3); });
}

FN_TEST(faults)
{
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, 16, TEST_POKE(16UL, 1));
    TEST_NO_FAULT(TEST_PEEK(test_map(1)));
}
