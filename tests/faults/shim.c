/* Faults at the system calls of one process, for tests: preloaded, it stands between a program and the C library.
 *
 * Calls on files below a root are counted by kind; at the chosen one the process is killed before, in the middle or
 * after it, is stopped, gets a signal, an error or a short write, or sees the clock jump. What changes the disk can be
 * written to a log, from which the states that a power failure may leave are made. See shim.py for the kinds and modes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_W = 1, WRITE = 2, SYNC = 4, RENAME = 8, UNLINK = 16, MKDIR = 32, TRUNC = 64, LOCK = 128, OPEN_R = 256,
       READ = 512, STAT = 1024, LIST = 2048 };
enum { COUNT, KILL_BEFORE, KILL_AFTER, KILL_MIDDLE, FAIL_ONCE, FAIL_FROM, SHORT_ONCE, SHORT_FROM, STOP, SIGNAL, CLOCK,
       FULL };
#define MAX_FD 4096

static char root[PATH_MAX];
static unsigned kinds;
static int mode, error_number, log_fd = -1;
static long at, amount;
static atomic_long count, written;
static atomic_long count_of[12]; /* by kind */
static atomic_long clock_offset; /* seconds */
static char *path_of[MAX_FD];

void jf_arm(const char *below, unsigned which, int how, long when, int error, long value, int log) {
    strncpy(root, below, PATH_MAX - 1);
    kinds = which, mode = how, at = when, error_number = error, amount = value, log_fd = log;
    count = written = 0;
    for (int i = 0; i < 12; i++) count_of[i] = 0;
}
void jf_disarm(void) { root[0] = 0; }
long jf_count(unsigned which) {
    long sum = 0;
    for (int i = 0; i < 12; i++) sum += which & (1u << i) ? count_of[i] : 0;
    return sum;
}

static int is_below(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* The path as one text; NULL if it is not below the root. */
static const char *below(int folder, const char *path, char *full) {
    if (!root[0] || !path) return NULL;
    if (path[0] == '/') return is_below(path) ? path : NULL;
    if (folder == AT_FDCWD) {
        if (!getcwd(full, PATH_MAX)) return NULL;
    } else {
        if (folder < 0 || folder >= MAX_FD || !path_of[folder]) return NULL;
        strcpy(full, path_of[folder]);
    }
    if (!is_below(full) || strlen(full) + strlen(path) + 2 > PATH_MAX) return NULL;
    return strcat(strcat(full, "/"), path);
}
static const char *of_fd(int fd) { return root[0] && fd >= 0 && fd < MAX_FD ? path_of[fd] : NULL; }
static void keep(int fd, const char *path) {
    if (fd >= 0 && fd < MAX_FD) path_of[fd] = path ? strdup(path) : NULL;
}

static void raw(const void *data, size_t size) {
    for (const char *from = data; size;) {
        long done = syscall(SYS_write, log_fd, from, size);
        if (done <= 0) return;
        from += done, size -= done;
    }
}
/* name TAB inode TAB offset TAB path TAB second path TAB bytes of data NEWLINE data */
static void record(const char *name, int fd, long offset, const char *path, const char *second, const void *data,
                   size_t size) {
    if (log_fd < 0) return;
    int before = errno;
    struct stat facts = {0};
    if (fd >= 0) syscall(SYS_fstat, fd, &facts);
    char head[2 * PATH_MAX + 200];
    int length = snprintf(head, sizeof head, "%s\t%lu\t%ld\t%s\t%s\t%zu\n", name, (unsigned long)facts.st_ino, offset,
                          path ? path : "", second ? second : "", size);
    raw(head, length);
    raw(data, size);
    errno = before;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}
/* What is to happen at this call: a mode, or COUNT for nothing. */
static int now(unsigned kind) {
    count_of[__builtin_ctz(kind)]++;
    if (!(kinds & kind)) return COUNT;
    long number = atomic_fetch_add(&count, 1);
    if (mode == FULL) return mode;
    if (mode == FAIL_FROM || mode == SHORT_FROM) {
        if (number < at) return COUNT;
        return mode == SHORT_FROM && number > at ? FAIL_FROM : mode;
    }
    if (mode == SIGNAL) return number >= at && number <= at + amount ? mode : COUNT;
    return number == at ? mode : COUNT;
}
/* Before the call: 1 if it is to fail, with errno set. */
static int before(int what) {
    switch (what) {
        case KILL_BEFORE: die(); break;
        case STOP: syscall(SYS_kill, getpid(), SIGSTOP); break;
        case SIGNAL: syscall(SYS_kill, getpid(), error_number); break;
        case CLOCK: clock_offset += amount; break;
        case FAIL_ONCE: case FAIL_FROM: errno = error_number; return 1;
    }
    return 0;
}
static void after(int what) { if (what == KILL_AFTER || what == KILL_MIDDLE) die(); }

#define AROUND(kind, is_tracked, call, log_it)                      \
    do {                                                            \
        int what = (is_tracked) ? now(kind) : COUNT;                \
        if (before(what)) return -1;                                \
        long result = (call);                                       \
        if ((is_tracked) && result >= 0) { log_it; }                \
        after(what);                                                \
        return result;                                              \
    } while (0)

static int do_open(int folder, const char *path, int flags, mode_t permissions) {
    char full[PATH_MAX];
    const char *tracked = below(folder, path, full);
    int writes = flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC);
    struct stat facts;
    int was_there = tracked && !syscall(SYS_newfstatat, folder, path, &facts, 0);
    int what = tracked ? now(writes ? OPEN_W : OPEN_R) : COUNT;
    if (mode == FULL && what == FULL && writes && !was_there && written >= amount) { errno = error_number; return -1; }
    if (before(what)) return -1;
    int fd = syscall(SYS_openat, folder, path, flags, permissions);
    if (root[0]) keep(fd, tracked);
    if (tracked && fd >= 0 && writes) {
        if (!was_there) record("create", fd, 0, tracked, NULL, NULL, 0);
        else record("open", fd, 0, tracked, NULL, NULL, 0);
        if (flags & O_TRUNC) record("truncate", fd, 0, tracked, NULL, NULL, 0);
    }
    after(what);
    return fd;
}
#define PERMISSIONS(flags)                        \
    mode_t permissions = 0;                       \
    if ((flags) & (O_CREAT | O_TMPFILE)) {        \
        va_list more;                             \
        va_start(more, flags);                    \
        permissions = va_arg(more, mode_t);       \
        va_end(more);                             \
    }
int open(const char *path, int flags, ...) { PERMISSIONS(flags) return do_open(AT_FDCWD, path, flags, permissions); }
int open64(const char *path, int flags, ...) { PERMISSIONS(flags) return do_open(AT_FDCWD, path, flags, permissions); }
int openat(int folder, const char *path, int flags, ...) { PERMISSIONS(flags) return do_open(folder, path, flags, permissions); }
int openat64(int folder, const char *path, int flags, ...) { PERMISSIONS(flags) return do_open(folder, path, flags, permissions); }
int creat(const char *path, mode_t permissions) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, permissions); }
int close(int fd) {
    if (root[0]) keep(fd, NULL);
    return syscall(SYS_close, fd);
}

/* How much of a write is done: `amount` bytes; where it is negative, all but so many; 0 for half of it. */
static size_t part_of(size_t size) {
    long part = amount > 0 ? amount : amount < 0 ? (long)size + amount : (long)size / 2;
    return part < 0 ? 0 : part > (long)size ? size : (size_t)part;
}

static long do_write(int fd, const void *data, size_t size, long offset) {
    const char *tracked = of_fd(fd);
    int what = tracked ? now(WRITE) : COUNT;
    size_t part = size;
    if (what == KILL_MIDDLE || what == SHORT_ONCE || what == SHORT_FROM) part = part_of(size);
    if (mode == FULL && what == FULL) {
        long left = amount - atomic_fetch_add(&written, size);
        if (left <= 0) { errno = error_number; return -1; }
        if ((size_t)left < size) part = left;
    }
    if (before(what)) return -1;
    if ((what == SHORT_ONCE || what == SHORT_FROM) && !part) part = size;
    long result = 0;
    if (part || !size)
        result = offset < 0 ? syscall(SYS_write, fd, data, part) : syscall(SYS_pwrite64, fd, data, part, offset);
    if (tracked && result > 0 && log_fd >= 0) {
        long where = offset >= 0 ? offset : syscall(SYS_lseek, fd, 0, SEEK_CUR) - result;
        record("write", fd, where, tracked, NULL, data, result);
    }
    after(what);
    return result;
}
ssize_t write(int fd, const void *data, size_t size) { return do_write(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return do_write(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return do_write(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *parts, int number) {
    if (!of_fd(fd)) return syscall(SYS_writev, fd, parts, number);
    ssize_t sum = 0;
    for (int i = 0; i < number; i++) {
        ssize_t done = do_write(fd, parts[i].iov_base, parts[i].iov_len, -1);
        if (done < 0) return sum ? sum : -1;
        sum += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return sum;
}
/* Copies within the kernel are refused where files are watched, so that programs write by themselves. */
ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    if (of_fd(to)) { errno = EINVAL; return -1; }
    return syscall(SYS_sendfile, to, from, offset, size);
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) { return sendfile(to, from, (off_t *)offset, size); }
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    if (of_fd(to)) { errno = EINVAL; return -1; }
    return syscall(SYS_copy_file_range, from, a, to, b, size, flags);
}

ssize_t read(int fd, void *data, size_t size) { AROUND(READ, of_fd(fd), syscall(SYS_read, fd, data, size), ); }
ssize_t pread(int fd, void *data, size_t size, off_t offset) { AROUND(READ, of_fd(fd), syscall(SYS_pread64, fd, data, size, offset), ); }
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) { AROUND(READ, of_fd(fd), syscall(SYS_pread64, fd, data, size, offset), ); }

int fsync(int fd) { AROUND(SYNC, of_fd(fd), syscall(SYS_fsync, fd), record("sync", fd, 0, of_fd(fd), NULL, NULL, 0)); }
int fdatasync(int fd) { AROUND(SYNC, of_fd(fd), syscall(SYS_fdatasync, fd), record("sync", fd, 0, of_fd(fd), NULL, NULL, 0)); }
int ftruncate(int fd, off_t size) { AROUND(TRUNC, of_fd(fd), syscall(SYS_ftruncate, fd, size), record("truncate", fd, size, of_fd(fd), NULL, NULL, 0)); }
int ftruncate64(int fd, off64_t size) { AROUND(TRUNC, of_fd(fd), syscall(SYS_ftruncate, fd, size), record("truncate", fd, size, of_fd(fd), NULL, NULL, 0)); }

static int do_rename(int a, const char *from, int b, const char *to, unsigned flags) {
    char one[PATH_MAX], two[PATH_MAX];
    const char *source = below(a, from, one), *target = below(b, to, two);
    AROUND(RENAME, source || target, syscall(SYS_renameat2, a, from, b, to, flags), record("rename", -1, 0, source, target, NULL, 0));
}
int rename(const char *from, const char *to) { return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return do_rename(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return do_rename(a, from, b, to, flags); }

static int do_unlink(int folder, const char *path, int flags) {
    char full[PATH_MAX];
    const char *tracked = below(folder, path, full);
    AROUND(UNLINK, tracked, syscall(SYS_unlinkat, folder, path, flags), record("unlink", -1, 0, tracked, NULL, NULL, 0));
}
int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return do_unlink(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char *path, int flags) { return do_unlink(folder, path, flags); }
static int do_mkdir(int folder, const char *path, mode_t permissions) {
    char full[PATH_MAX];
    const char *tracked = below(folder, path, full);
    AROUND(MKDIR, tracked, syscall(SYS_mkdirat, folder, path, permissions), record("mkdir", -1, 0, tracked, NULL, NULL, 0));
}
int mkdir(const char *path, mode_t permissions) { return do_mkdir(AT_FDCWD, path, permissions); }
int mkdirat(int folder, const char *path, mode_t permissions) { return do_mkdir(folder, path, permissions); }
int flock(int fd, int operation) { AROUND(LOCK, !(operation & LOCK_UN) && of_fd(fd), syscall(SYS_flock, fd, operation), ); }

static int do_stat(int folder, const char *path, struct stat *facts, int flags) {
    char full[PATH_MAX];
    const char *tracked = below(folder, path, full);
    AROUND(STAT, tracked, syscall(SYS_newfstatat, folder, path, facts, flags), );
}
int stat(const char *path, struct stat *facts) { return do_stat(AT_FDCWD, path, facts, 0); }
int lstat(const char *path, struct stat *facts) { return do_stat(AT_FDCWD, path, facts, AT_SYMLINK_NOFOLLOW); }
int fstatat(int folder, const char *path, struct stat *facts, int flags) { return do_stat(folder, path, facts, flags); }
int stat64(const char *path, struct stat64 *facts) { return do_stat(AT_FDCWD, path, (struct stat *)facts, 0); }
int lstat64(const char *path, struct stat64 *facts) { return do_stat(AT_FDCWD, path, (struct stat *)facts, AT_SYMLINK_NOFOLLOW); }
int fstatat64(int folder, const char *path, struct stat64 *facts, int flags) { return do_stat(folder, path, (struct stat *)facts, flags); }

DIR *opendir(const char *path) {
    static DIR *(*original)(const char *);
    if (!original) original = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
    char full[PATH_MAX];
    int what = below(AT_FDCWD, path, full) ? now(LIST) : COUNT;
    if (before(what)) return NULL;
    DIR *result = original(path);
    after(what);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *value) {
    int result = syscall(SYS_clock_gettime, clock, value);
    if (!result && clock == CLOCK_REALTIME) value->tv_sec += clock_offset;
    return result;
}
int gettimeofday(struct timeval *value, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    value->tv_sec = exact.tv_sec, value->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *value) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (value) *value = exact.tv_sec;
    return exact.tv_sec;
}
