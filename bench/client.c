/* The client side of the benchmarks: plain system calls in a loop, so that what is measured is the file system.
 *
 *   client OPERATION DIR COUNT THREADS        prints operations per second, or MiB/s for read and write
 *
 * fill     mknod of COUNT files DIR/f<i>
 * stat     fstatat of the same
 * create   open(O_CREAT|O_EXCL) + close of DIR/n<thread>_<i>        unlink   of the same
 * readdir  one listing of DIR with getdents64, entries a second     (COUNT = entries expected)
 * write    COUNT MiB into DIR/big, 1 MiB at a time                  read     the same file, past the page cache
 *
 * A second number is printed for readdir: seconds until the first entries came. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *operation;
static long count;
static int threads, directory;

static void fail(const char *what) { perror(what); exit(1); }
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }

static void *work(void *argument) {
  long thread = (long)argument, from = count * thread / threads, to = count * (thread + 1) / threads;
  char name[64];
  struct stat status;
  for (long i = from; i < to; i++) {
    if (!strcmp(operation, "fill")) {
      snprintf(name, sizeof name, "f%ld", i);
      if (mknodat(directory, name, S_IFREG | 0644, 0)) fail("mknod");
    } else if (!strcmp(operation, "stat")) {
      snprintf(name, sizeof name, "f%ld", i);
      if (fstatat(directory, name, &status, 0)) fail("stat");
    } else if (!strcmp(operation, "create")) {
      snprintf(name, sizeof name, "n%ld_%ld", thread, i);
      int fd = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
      if (fd < 0 || close(fd)) fail("create");
    } else {
      snprintf(name, sizeof name, "n%ld_%ld", thread, i);
      if (unlinkat(directory, name, 0)) fail("unlink");
    }
  }
  return NULL;
}

static double first_after; /* seconds */

static long list(double start) {
  static char buffer[1 << 18];
  long entries = 0, got;
  if (lseek(directory, 0, SEEK_SET)) fail("lseek");
  while ((got = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0) {
    if (first_after == 0) first_after = now() - start;
    for (long at = 0; at < got; entries++) at += *(unsigned short *)(buffer + at + 16);
  }
  if (got < 0) fail("getdents64");
  return entries;
}

static void stream(int writing) {
  size_t size = 1 << 20;
  char *buffer = aligned_alloc(4096, size);
  memset(buffer, 'x', size);
  int fd = openat(directory, "big", writing ? O_CREAT | O_WRONLY | O_TRUNC : O_RDONLY, 0644);
  if (fd < 0) fail("open");
  if (!writing && (errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))) fail("posix_fadvise");
  for (long i = 0; i < count; i++) {
    ssize_t done = writing ? write(fd, buffer, size) : read(fd, buffer, size);
    if (done != (ssize_t)size) fail("transfer");
  }
  if (close(fd)) fail("close");
}

int main(int argc, char **argv) {
  if (argc != 5) { fprintf(stderr, "client OPERATION DIR COUNT THREADS\n"); return 2; }
  operation = argv[1];
  count = atol(argv[3]);
  threads = atoi(argv[4]);
  directory = open(argv[2], O_RDONLY | O_DIRECTORY);
  if (directory < 0) fail(argv[2]);
  double start = now();
  if (!strcmp(operation, "readdir")) {
    long entries = list(start);
    if (entries < count) { fprintf(stderr, "only %ld entries\n", entries); return 1; }
    count = entries;
  } else if (!strcmp(operation, "read") || !strcmp(operation, "write")) {
    stream(operation[0] == 'w');
  } else {
    pthread_t *all = malloc(threads * sizeof *all);
    for (long i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)i);
    for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
  }
  printf("%.1f", count / (now() - start));
  printf(first_after > 0 ? " %.4f\n" : "\n", first_after);
  return 0;
}
