/* Owns a disk that fails, lies and loses its power, for a program that is not made for it: loaded with LD_PRELOAD, it stands
 * between the program and the system for the files below one directory, and lets everything else pass.
 *
 * It knows no format and no program. Two variables tell it where things are:
 *
 *   FAULTY_DISK_ROOT   the directory whose files it watches
 *   FAULTY_DISK_IMAGE  a directory on the same file system, for what it writes down
 *
 * IMAGE/control is an array of 64-bit words, mapped by both sides (`enum word`): the test says what is to fail, the shim
 * counts what did. The rest of IMAGE is the disk as a power loss would leave it at this moment:
 *
 *   pages/INODE  a file's bytes as of its last sync that worked
 *   dirty/INODE  one byte for each page of 4 KiB: 1 when it was written since; so a kill of the process forgets nothing
 *   held/INODE   a link to the file itself, so that its number is given to no other one
 *   names/PATH   the names in a directory as of its last sync that worked: "f INODE NAME" or "d INODE NAME" in each line
 *
 * A sync that fails forgets which pages were dirty, as Linux does: a later sync that works does not bring them back. A
 * file is written and synced by one thread at a time, as the journal and its tables do; the pages are read after the sync.
 * What it does not see (mmap, writev, copy_file_range) never gets into the image, so a program that begins to use
 * them loses data here and is noticed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES_MAX = 65536, FILES_MAX = 4096, WORDS = 32, PATH_BYTES = PATH_MAX };

/* The words of IMAGE/control. `*_SKIP` operations work first, then `*_FAIL` fail. */
enum word {
    KINDS, SYNC_SKIP, SYNC_FAIL, WRITE_SKIP, WRITE_FAIL, WRITE_ERRNO, SHORT_EVERY, SLOW_US, LIES,
    SYNCS = 16, WRITES, SYNCS_FAILED, WRITES_FAILED, WRITES_SHORT, SYNCS_LIED,
};

/* Which files faults are for: bits of the word KINDS. */
enum kind { SEGMENT = 1, SIDE = 2, DIRECTORY = 4, TABLES = 8, OTHER = 16 };

/* A file or directory below the root. */
struct place {
    int fd;
    struct stat about;
    char path[PATH_BYTES];
    unsigned kind;
};

static char root[PATH_BYTES], image[PATH_BYTES];
static size_t root_bytes;
static _Atomic uint64_t *words;
static struct { ino_t inode; uint8_t *dirty; } files[FILES_MAX];
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER, names_lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int), (*real_fdatasync)(int);

/* The image must be right or there must be no test at all. */
static void give_up(const char *what) {
    fprintf(stderr, "faulty_disk: %s: %s\n", what, strerror(errno));
    abort();
}

static void resolve(void) {
    /* The detour is what dlsym(3) asks of those who want no warning about function pointers. */
    *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    *(void **)&real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

static void in_image(char *into, const char *folder, const char *name) {
    if (snprintf(into, PATH_BYTES, "%s/%s/%s", image, folder, name) >= PATH_BYTES) give_up("a path is too long");
}

static void of_inode(char *into, const char *folder, ino_t inode) {
    char name[32];
    snprintf(name, sizeof name, "%ju", (uintmax_t)inode);
    in_image(into, folder, name);
}

__attribute__((constructor)) static void begin(void) {
    resolve();
    const char *where = getenv("FAULTY_DISK_ROOT"), *aside = getenv("FAULTY_DISK_IMAGE");
    if (!where || !aside) return;
    snprintf(image, sizeof image, "%s", aside);
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/control", image) >= PATH_BYTES) give_up("a path is too long");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) give_up(path);
    words = mmap(NULL, WORDS * sizeof *words, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (words == MAP_FAILED) give_up(path);
    close(fd);
    if (!realpath(where, root)) give_up(where);
    root_bytes = strlen(root);
}

static unsigned kind_of(const char *path, mode_t mode) {
    const char *dot = strrchr(path, '.');
    if (S_ISDIR(mode)) return DIRECTORY;
    if (dot && (!strcmp(dot, ".segment") || !strcmp(dot, ".spare"))) return SEGMENT;
    if (dot && !strcmp(dot, ".body")) return SIDE;
    return dot && !strcmp(dot, ".redb") ? TABLES : OTHER;
}

/* Says whether a descriptor is of something below the root, and of what. */
static int find(int fd, struct place *place) {
    if (!root_bytes || fstat(fd, &place->about)) return 0;
    if (!S_ISREG(place->about.st_mode) && !S_ISDIR(place->about.st_mode)) return 0;
    char link[48];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, place->path, sizeof place->path - 1);
    if (bytes < 0) return 0;
    place->path[bytes] = 0;
    if (strncmp(place->path, root, root_bytes)) return 0;
    if (place->path[root_bytes] != '/' && place->path[root_bytes] != 0) return 0;
    place->fd = fd;
    place->kind = kind_of(place->path, place->about.st_mode);
    return 1;
}

/* The dirty pages of a file; from its first write on, its number stays its own. */
static uint8_t *dirty_pages(const struct place *place) {
    ino_t inode = place->about.st_ino;
    pthread_mutex_lock(&files_lock);
    size_t at = inode % FILES_MAX, looked = 0;
    while (files[at].dirty && files[at].inode != inode && looked++ < FILES_MAX) at = (at + 1) % FILES_MAX;
    if (looked >= FILES_MAX) give_up("too many files");
    if (!files[at].dirty) {
        char path[PATH_BYTES], link_path[48];
        of_inode(path, "held", inode);
        snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", place->fd);
        if (linkat(AT_FDCWD, link_path, AT_FDCWD, path, AT_SYMLINK_FOLLOW) && errno != EEXIST && errno != ENOENT)
            give_up(path);
        of_inode(path, "dirty", inode);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || real_ftruncate(fd, PAGES_MAX)) give_up(path);
        uint8_t *mapped = mmap(NULL, PAGES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (mapped == MAP_FAILED) give_up(path);
        close(fd);
        files[at].inode = inode;
        files[at].dirty = mapped;
    }
    uint8_t *dirty = files[at].dirty;
    pthread_mutex_unlock(&files_lock);
    return dirty;
}

static void soil(const struct place *place, off_t from, off_t to) {
    if (to <= from) return;
    if (to > (off_t)PAGES_MAX * PAGE) give_up("a file is larger than the shim can watch");
    memset(dirty_pages(place) + from / PAGE, 1, (size_t)((to - 1) / PAGE - from / PAGE + 1));
}

/* Takes one from the operations that work, then one from those that fail; says whether this one fails. */
static int fails(enum word skip, enum word fail) {
    for (uint64_t left = words[skip]; left > 0;)
        if (atomic_compare_exchange_weak(&words[skip], &left, left - 1)) return 0;
    for (uint64_t left = words[fail]; left > 0;)
        if (atomic_compare_exchange_weak(&words[fail], &left, left - 1)) return 1;
    return 0;
}

static int is_meant(const struct place *place) { return (words[KINDS] & place->kind) != 0; }

/* How many of so many bytes are to be written; `failure` becomes what is said then, or 0. */
static size_t bytes_let_through(const struct place *place, size_t bytes, int *failure) {
    *failure = 0;
    if (!is_meant(place)) return bytes;
    uint64_t number = ++words[WRITES], every = words[SHORT_EVERY];
    if (fails(WRITE_SKIP, WRITE_FAIL)) {
        words[WRITES_FAILED]++;
        *failure = (int)words[WRITE_ERRNO];
        /* Whoever is told of an error cannot know that nothing was written. */
        return bytes / 2;
    }
    if (every && number % every == 0 && bytes > 1) {
        words[WRITES_SHORT]++;
        return bytes / 2;
    }
    return bytes;
}

ssize_t pwrite64(int fd, const void *from, size_t bytes, off_t offset) {
    struct place place;
    int failure, before = errno;
    if (!find(fd, &place)) return errno = before, real_pwrite(fd, from, bytes, offset);
    bytes = bytes_let_through(&place, bytes, &failure);
    soil(&place, offset, offset + (off_t)bytes);
    ssize_t written = real_pwrite(fd, from, bytes, offset);
    return failure ? errno = failure, -1 : written;
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset) { return pwrite64(fd, from, bytes, offset); }

ssize_t write(int fd, const void *from, size_t bytes) {
    struct place place;
    int failure, before = errno;
    if (!real_write) resolve();
    if (!find(fd, &place)) return errno = before, real_write(fd, from, bytes);
    bytes = bytes_let_through(&place, bytes, &failure);
    off_t at = fcntl(fd, F_GETFL) & O_APPEND ? place.about.st_size : lseek(fd, 0, SEEK_CUR);
    soil(&place, at, at + (off_t)bytes);
    ssize_t written = real_write(fd, from, bytes);
    return failure ? errno = failure, -1 : written;
}

int ftruncate64(int fd, off_t bytes) {
    struct place place;
    int before = errno;
    if (find(fd, &place)) soil(&place, bytes, place.about.st_size);
    return errno = before, real_ftruncate(fd, bytes);
}

int ftruncate(int fd, off_t bytes) { return ftruncate64(fd, bytes); }

/* Brings the dirty pages of a file into the image. Its descriptor may be for writing only; one that can read is not
 * opened anew, because closing it would let go of the process's locks on the file. */
static void keep_pages(const struct place *place) {
    uint8_t *dirty = dirty_pages(place);
    char path[PATH_BYTES], own[48], page[PAGE];
    of_inode(path, "pages", place->about.st_ino);
    snprintf(own, sizeof own, "/proc/self/fd/%d", place->fd);
    int can_read = (fcntl(place->fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
    int from = can_read ? place->fd : open(own, O_RDONLY | O_CLOEXEC), to = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) give_up(path);
    for (size_t number = 0; number < PAGES_MAX; number++) {
        if (!dirty[number]) continue;
        off_t at = (off_t)(number * PAGE);
        ssize_t bytes = pread(from, page, PAGE, at);
        if (bytes < 0 || (bytes > 0 && real_pwrite(to, page, (size_t)bytes, at) != bytes)) give_up(path);
        dirty[number] = 0;
    }
    struct stat about;
    if (fstat(from, &about) || real_ftruncate(to, about.st_size)) give_up(path);
    close(to);
    if (!can_read) close(from);
}

/* Brings the names in a directory into the image, all in one step. */
static void keep_names(const struct place *place) {
    char path[PATH_BYTES], fresh[PATH_BYTES], name[PATH_BYTES];
    const char *below = place->path + root_bytes;
    snprintf(name, sizeof name, "%s", *below ? below : "+");
    for (char *slash = name; (slash = strchr(slash, '/'));) *slash = '+';
    in_image(path, "names", name);
    in_image(fresh, "names", ".fresh");
    pthread_mutex_lock(&names_lock);
    FILE *list = fopen(fresh, "we");
    DIR *names = opendir(place->path);
    if (!list || !names) give_up(path);
    for (struct dirent *entry; (entry = readdir(names));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (entry->d_type == DT_REG || entry->d_type == DT_DIR)
            fprintf(list, "%c %ju %s\n", entry->d_type == DT_DIR ? 'd' : 'f', (uintmax_t)entry->d_ino, entry->d_name);
    }
    closedir(names);
    if (fclose(list) || rename(fresh, path)) give_up(path);
    pthread_mutex_unlock(&names_lock);
}

static int sync_by(int (*real)(int), int fd) {
    struct place place;
    int before = errno;
    if (!find(fd, &place)) return errno = before, real(fd);
    if (is_meant(&place)) {
        words[SYNCS]++;
        if (words[SLOW_US]) usleep((useconds_t)words[SLOW_US]);
        if (words[LIES]) {
            words[SYNCS_LIED]++;
            return 0;
        }
        if (fails(SYNC_SKIP, SYNC_FAIL)) {
            words[SYNCS_FAILED]++;
            if (place.kind != DIRECTORY) memset(dirty_pages(&place), 0, PAGES_MAX);
            return errno = EIO, -1;
        }
    }
    int result = real(fd);
    if (result) return result;
    if (place.kind == DIRECTORY) keep_names(&place);
    else keep_pages(&place);
    return errno = before, 0;
}

int fsync(int fd) { return sync_by(real_fsync, fd); }

int fdatasync(int fd) { return sync_by(real_fdatasync, fd); }
