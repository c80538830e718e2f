/* A wall clock that can step: the real one, and as many seconds more as the file SCORETAP_CLOCK holds, eight bytes.
 * Preloaded into a process it is that process' clock; every other clock stays what it is.
 *
 * libfaketime is not used: it allocates when it is first asked for the time, and the first to ask is Envoy's allocator. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *seconds_more;

__attribute__((constructor)) static void map_file(void) {
    const char *path = getenv("SCORETAP_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) {
        return;
    }
    void *mapped = mmap(NULL, sizeof *seconds_more, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) {
        seconds_more = mapped;
    }
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (syscall(SYS_clock_gettime, clock, time) != 0) {
        return -1;
    }
    if (seconds_more && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        time->tv_sec += *seconds_more;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return -1;
    }
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *copy) {
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (copy) {
        *copy = now.tv_sec;
    }
    return now.tv_sec;
}
