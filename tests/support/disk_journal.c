/* Writes down, in order, all that a process does to the files under one folder: loaded before libc by
   LD_PRELOAD, told the folder and the journal by DISK_JOURNAL_UNDER and DISK_JOURNAL. Read by power.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static int journal = -1;
static const char *under;

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("DISK_JOURNAL");
    under = getenv("DISK_JOURNAL_UNDER");
    if (path && under) journal = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int watched(const char *path) {
    return journal >= 0 && path && strncmp(path, under, strlen(under)) == 0;
}

/* kind, inode, offset or size, and the lengths of three texts that follow: name, other name, data */
static void note(char kind, const char *name, const char *other, uint64_t inode, uint64_t offset,
                 const void *data, size_t size) {
    struct __attribute__((packed)) {
        char kind;
        uint64_t inode, offset;
        uint32_t lengths[3];
    } head = {kind, inode, offset, {strlen(name), strlen(other), size}};
    struct iovec parts[4] = {{&head, sizeof head}, {(void *)name, strlen(name)},
                             {(void *)other, strlen(other)}, {(void *)data, size}};
    if (REAL(writev)(journal, parts, 4) != (ssize_t)(sizeof head + strlen(name) + strlen(other) + size)) abort();
}

/* The name and the inode behind a descriptor; says whether it is watched. */
static int behind(int file, char name[PATH_MAX], uint64_t *inode) {
    char link[64];
    struct stat status;
    if (journal < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, PATH_MAX - 1);
    if (length < 0) return 0;
    name[length] = 0;
    if (!watched(name) || fstat(file, &status)) return 0;
    *inode = status.st_ino;
    return 1;
}

static void note_file(char kind, int file, uint64_t offset, const void *data, size_t size) {
    char name[PATH_MAX];
    uint64_t inode;
    if (behind(file, name, &inode)) note(kind, name, "", inode, offset, data, size);
}

static int opened(const char *path, int flags, int existed, int file) {
    if (file < 0 || !watched(path)) return file;
    if ((flags & O_CREAT) && !existed) note_file('c', file, 0, "", 0);
    else if (flags & O_TRUNC) note_file('t', file, 0, "", 0);
    return file;
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        va_list more;                                                               \
        va_start(more, flags);                                                      \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;     \
        va_end(more);                                                               \
        int existed = watched(path) && access(path, F_OK) == 0;                     \
        return opened(path, flags, existed, REAL(name)(path, flags, mode));         \
    }
#define OPENAT(name)                                                                \
    int name(int folder, const char *path, int flags, ...) {                        \
        va_list more;                                                               \
        va_start(more, flags);                                                      \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;     \
        va_end(more);                                                               \
        int existed = watched(path) && access(path, F_OK) == 0;                     \
        return opened(path, flags, existed, REAL(name)(folder, path, flags, mode)); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) {
    off_t end = lseek(file, 0, fcntl(file, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = REAL(write)(file, data, size);
    if (done > 0 && end >= 0) note_file('w', file, end, data, done);
    return done;
}

#define PWRITE(name, offset_type)                                                      \
    ssize_t name(int file, const void *data, size_t size, offset_type offset) {        \
        ssize_t done = REAL(name)(file, data, size, offset);                           \
        if (done > 0) note_file('w', file, offset, data, done);                        \
        return done;                                                                   \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, offset_type)                         \
    int name(int file, offset_type size) {                  \
        int failed = REAL(name)(file, size);                \
        if (!failed) note_file('t', file, size, "", 0);     \
        return failed;                                      \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                      \
    int name(int file) {                                \
        int failed = REAL(name)(file);                  \
        if (!failed) note_file('s', file, 0, "", 0);    \
        return failed;                                  \
    }
SYNC(fsync)
SYNC(fdatasync)

#define MMAP(name, offset_type)                                                              \
    void *name(void *at, size_t size, int protection, int flags, int file, offset_type offset) { \
        if (file >= 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED))                  \
            note_file('m', file, offset, "", 0);                                             \
        return REAL(name)(at, size, protection, flags, file, offset);                        \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

static int named(char kind, const char *from, const char *to, int failed) {
    if (!failed && watched(from)) note(kind, from, to, 0, 0, "", 0);
    return failed;
}

int unlink(const char *path) { return named('u', path, "", REAL(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags) {
    return named('u', path, "", REAL(unlinkat)(folder, path, flags));
}
int rename(const char *from, const char *to) { return named('r', from, to, REAL(rename)(from, to)); }
int renameat(int folder, const char *from, int other, const char *to) {
    return named('r', from, to, REAL(renameat)(folder, from, other, to));
}
int link(const char *from, const char *to) { return named('l', from, to, REAL(link)(from, to)); }
int linkat(int folder, const char *from, int other, const char *to, int flags) {
    return named('l', from, to, REAL(linkat)(folder, from, other, to, flags));
}
