// Stands between the program under test and the C library (LD_PRELOAD), for files under one folder and for the clock.
//
//   TORTURE_UNDER  the folder
//   TORTURE_FAIL   CALLS:N:ERROR:once|ever, CALLS being write or sync: the Nth such call fails, once or from then on
//   TORTURE_MET    a file that is created when a call was made to fail
//   TORTURE_TRACE  a file that every change under the folder is appended to, as shim.rs reads it
//   TORTURE_CLOCK  a file that holds the nanoseconds by which the clock is wrong, as a 64-bit integer; it may change
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *under;
static size_t under_length;
static char fail_calls;
static long fail_at, n_calls;
static int fail_error, fails_for_ever;
static int trace = -1;
static volatile int64_t *clock_error_ns;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *fail = getenv("TORTURE_FAIL"), *clock = getenv("TORTURE_CLOCK"), *path = getenv("TORTURE_TRACE");
    char calls[8], error[8], how[8];
    if (fail && sscanf(fail, "%7[^:]:%ld:%7[^:]:%7s", calls, &fail_at, error, how) == 4) {
        fail_calls = calls[0];
        fail_error = strcmp(error, "EIO") ? ENOSPC : EIO;
        fails_for_ever = how[0] == 'e';
    }
    if (path) trace = REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (clock) {
        int fd = REAL(open)(clock, O_RDONLY | O_CLOEXEC);
        void *map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) clock_error_ns = map;
    }
    under = getenv("TORTURE_UNDER");
    under_length = under ? strlen(under) : 0;
}

static int is_watched(const char *path) {
    return under_length && strncmp(path, under, under_length) == 0 && path[under_length] == '/';
}

// The path of an open file, where it lies under the folder.
static int path_of(int fd, char path[PATH_MAX]) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = under_length ? readlink(link, path, PATH_MAX - 1) : -1;
    if (n < 0) return 0;
    path[n] = 0;
    return is_watched(path);
}

static void record(char kind, const char *path, uint64_t place, const void *data, uint32_t n_bytes) {
    if (trace < 0) return;
    uint32_t path_bytes = strlen(path);
    struct iovec parts[] = {{&kind, 1},        {&path_bytes, 4},          {&place, 8},
                            {&n_bytes, 4},     {(void *)path, path_bytes}, {(void *)data, n_bytes}};
    if (syscall(SYS_writev, trace, parts, 6) < 0) abort();
}

// Whether this call fails; sets errno.
static int fails(char calls) {
    if (calls != fail_calls) return 0;
    long number = ++n_calls;
    if (number != fail_at && !(fails_for_ever && number > fail_at)) return 0;
    const char *met = getenv("TORTURE_MET");
    if (met) close(REAL(open)(met, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    errno = fail_error;
    return 1;
}

// Makes a call on a watched file in its turn, and records it when it worked.
#define IN_TURN(calls, call, recorded)              \
    do {                                            \
        pthread_mutex_lock(&order);                 \
        __typeof__(call) result = -1;               \
        if (!fails(calls)) {                        \
            result = (call);                        \
            int error = errno;                      \
            if (result >= 0) { recorded; }          \
            errno = error;                          \
        }                                           \
        pthread_mutex_unlock(&order);               \
        return result;                              \
    } while (0)

ssize_t write(int fd, const void *data, size_t n) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return REAL(write)(fd, data, n);
    IN_TURN('w', REAL(write)(fd, data, n),
            record('W', path, lseek(fd, 0, SEEK_CUR) - result, data, result));
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t place) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return REAL(pwrite64)(fd, data, n, place);
    IN_TURN('w', REAL(pwrite64)(fd, data, n, place), record('W', path, place, data, result));
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t place) { return pwrite64(fd, data, n, place); }

// F for the names in a folder, S for what stands in a file.
static char kind_of_sync(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISDIR(found.st_mode) ? 'F' : 'S';
}

int fsync(int fd) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return REAL(fsync)(fd);
    IN_TURN('s', REAL(fsync)(fd), record(kind_of_sync(fd), path, 0, NULL, 0));
}

int fdatasync(int fd) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return REAL(fdatasync)(fd);
    IN_TURN('s', REAL(fdatasync)(fd), record(kind_of_sync(fd), path, 0, NULL, 0));
}

int ftruncate64(int fd, off64_t n) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return REAL(ftruncate64)(fd, n);
    IN_TURN('t', REAL(ftruncate64)(fd, n), record('T', path, n, NULL, 0));
}

int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }

int unlink(const char *path) {
    if (!is_watched(path)) return REAL(unlink)(path);
    IN_TURN('u', REAL(unlink)(path), record('U', path, 0, NULL, 0));
}

int rename(const char *from, const char *to) {
    if (!is_watched(to)) return REAL(rename)(from, to);
    IN_TURN('m', REAL(rename)(from, to), record('M', from, 0, to, strlen(to)));
}

static int open_as(const char *path, int flags, mode_t mode) {
    if (!is_watched(path) || !(flags & (O_CREAT | O_TRUNC))) return REAL(open64)(path, flags, mode);
    IN_TURN('o', REAL(open64)(path, flags, mode),
            record(flags & O_TRUNC ? 'T' : 'C', path, 0, NULL, 0));
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_as(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_as(path, flags, mode);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, which, now);
    if (result == 0 && clock_error_ns && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + *clock_error_ns % 1000000000;
        now->tv_sec += *clock_error_ns / 1000000000 + (ns >= 1000000000) - (ns < 0);
        now->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
