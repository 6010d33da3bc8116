/* A native program with two hot functions: `spin_much` has three quarters of its CPU time, `spin_little` the rest. Built with frame
   pointers by the test that profiles it. It ends with its parent. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long sink;

static double cpu_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec + used.tv_nsec / 1e9;
}

__attribute__((noinline)) void spin_much(double until)
{
    while (cpu_seconds() < until)
        for (int step = 0; step < 200000; step++)
            sink = sink * 31 + step;
}

__attribute__((noinline)) void spin_little(double until)
{
    while (cpu_seconds() < until)
        for (int step = 0; step < 200000; step++)
            sink = sink * 31 + step;
}

int main(void)
{
    pid_t parent = getppid();
    unsigned int seed = 7;
    while (getppid() == parent) {
        /* rounds of 15 to 45 ms: with equal ones, a sampler could keep step with them */
        double round = 0.015 + 0.03 * rand_r(&seed) / RAND_MAX;
        spin_much(cpu_seconds() + 0.75 * round);
        spin_little(cpu_seconds() + 0.25 * round);
    }
    return 0;
}
