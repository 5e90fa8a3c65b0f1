/* A disk that fails on request: preloaded into a server, it makes chosen system calls on chosen files fail.
 *
 * The calls are caught by a seccomp filter, which raises SIGSYS in the thread that makes them, and not by functions of the
 * same names: programs that make system calls without the C library are caught too. The handler answers with the error,
 * or makes the call itself, from the one place the filter lets through.
 *
 * What is to fail stands in a file that FAULT_RULE names and that is mapped here; a test writes into it at any time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if !defined(__x86_64__)
#error "registers are those of x86-64"
#endif

/* As tests/e2e/io_errors.rs writes it. */
struct rule {
    _Atomic uint32_t armed;   /* 0: every call is made */
    uint32_t calls;           /* which: bits of enum call */
    uint32_t error;           /* errno; 0: half of what was to be written is written */
    uint32_t skip;            /* matching calls that are made before one fails */
    uint32_t times;           /* how many fail */
    _Atomic uint32_t matched; /* matching calls since it was armed */
    char path[232];           /* part of the file's path */
};

enum call { WRITE = 1, SYNC = 2, RESERVE = 4, RENAME = 8 };

static struct rule *rule;

/* call(nr, six arguments): the system call, from a place of its own. */
long fault_pass(long nr, long a, long b, long c, long d, long e, long f);
extern char fault_passed[];
__asm__(".text\n"
        ".globl fault_pass\n"
        ".type fault_pass, @function\n"
        "fault_pass:\n"
        "  mov %rdi, %rax\n  mov %rsi, %rdi\n  mov %rdx, %rsi\n  mov %rcx, %rdx\n"
        "  mov %r8, %r10\n  mov %r9, %r8\n  mov 8(%rsp), %r9\n"
        "  syscall\n"
        ".globl fault_passed\n"
        "fault_passed:\n"
        "  ret\n");

static const struct {
    int nr;
    enum call call;
} caught[] = {
    {__NR_write, WRITE},       {__NR_pwrite64, WRITE},   {__NR_writev, WRITE}, {__NR_pwritev, WRITE},
    {__NR_pwritev2, WRITE},    {__NR_fsync, SYNC},       {__NR_fdatasync, SYNC}, {__NR_syncfs, SYNC},
    {__NR_sync_file_range, SYNC}, {__NR_fallocate, RESERVE},
    {__NR_rename, RENAME},     {__NR_renameat, RENAME},  {__NR_renameat2, RENAME},
};
enum { CAUGHT = sizeof caught / sizeof caught[0] };

/* The path that the call is about: of its descriptor, or as it stands in its arguments. */
static int names_the_file(long nr, long a, long b) {
    char path[512];
    if (nr == __NR_rename || nr == __NR_renameat || nr == __NR_renameat2) {
        const char *from = (const char *)(nr == __NR_rename ? a : b);
        return strstr(from, rule->path) != NULL;
    }
    char link[40];
    /* No snprintf: this runs in a signal handler. */
    memcpy(link, "/proc/self/fd/", 14);
    char digits[12];
    int count = 0;
    unsigned fd = (unsigned)a;
    do {
        digits[count++] = (char)('0' + fd % 10);
        fd /= 10;
    } while (fd);
    for (int i = 0; i < count; i++)
        link[14 + i] = digits[count - 1 - i];
    link[14 + count] = 0;
    long length = fault_pass(__NR_readlink, (long)link, (long)path, sizeof path - 1, 0, 0, 0);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, rule->path) != NULL;
}

static long answer(long nr, long a, long b, long c, long d, long e, long f) {
    uint32_t call = 0;
    for (int i = 0; i < CAUGHT; i++)
        if (caught[i].nr == nr)
            call = caught[i].call;
    if (atomic_load(&rule->armed) && (rule->calls & call) && names_the_file(nr, a, b)) {
        uint32_t number = atomic_fetch_add(&rule->matched, 1);
        if (number >= rule->skip && number - rule->skip < rule->times) {
            if (rule->error)
                return -(long)rule->error;
            /* Of a single buffer half can be written; of several the first one is. */
            if (nr == __NR_write || nr == __NR_pwrite64)
                c = c > 1 ? c / 2 : c;
            else if (call == WRITE)
                c = 1;
        }
    }
    return fault_pass(nr, a, b, c, d, e, f);
}

static void on_call(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    r[REG_RAX] = answer(r[REG_RAX], r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
}

static void must(int fine, const char *what) {
    if (!fine) {
        perror(what);
        _exit(99);
    }
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULT_RULE");
    must(path != NULL, "FAULT_RULE");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    must(fd >= 0, path);
    rule = mmap(NULL, sizeof *rule, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(rule != MAP_FAILED, "mmap");
    close(fd);

    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    must(sigaction(SIGSYS, &action, NULL) == 0, "sigaction");

    uint64_t passed = (uint64_t)(uintptr_t)fault_passed;
    struct sock_filter filter[8 + CAUGHT + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5 + CAUGHT),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)passed, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(passed >> 32), 1 + CAUGHT, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    int at = 7;
    for (int i = 0; i < CAUGHT; i++, at++)
        filter[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)caught[i].nr,
                                                  (uint8_t)(CAUGHT - i), 0);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog program = {.len = (unsigned short)at, .filter = filter};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}
