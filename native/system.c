/* Mounting and what a serving process asks of the kernel for itself, which Node does not offer. */

#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <node_api.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "values.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

static napi_value open_device(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT && mknod("/dev/fuse", S_IFCHR | 0666, makedev(10, 229)) == 0)
    fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  return result_of(env, fd);
}

/* mount(source, target, type, flags, data): always without suid programs and devices */
static napi_value mount_device(napi_env env, napi_callback_info info) {
  ARGUMENTS(5);
  char *source = text_of(env, argv[0]), *target = text_of(env, argv[1]);
  char *type = text_of(env, argv[2]), *options = text_of(env, argv[4]);
  napi_value result;
  if (source && target && type && options)
    result = result_of(env, mount(source, target, type, MS_NOSUID | MS_NODEV | (unsigned)int_of(env, argv[3]), options));
  else
    result = number(env, -EINVAL);
  free(source);
  free(target);
  free(type);
  free(options);
  return result;
}

/* socketPair() -> [ours, theirs], for fusermount3 to hand a descriptor over; ours closes on exec */
static napi_value socket_pair(napi_env env, napi_callback_info info) {
  (void)info;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) return result_of(env, -1);
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  napi_value pair;
  napi_create_array_with_length(env, 2, &pair);
  napi_set_element(env, pair, 0, number(env, ends[0]));
  napi_set_element(env, pair, 1, number(env, ends[1]));
  return pair;
}

/* receiveDescriptor(socket) -> the descriptor sent with SCM_RIGHTS; -ENODATA when the other side sent none */
static napi_value receive_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  char byte;
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec piece = {&byte, 1};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t got;
  do
    got = recvmsg(int_of(env, argv[0]), &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return result_of(env, got);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return number(env, -ENODATA);
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return number(env, fd);
}

/* prepareDescriptor(fd): non-blocking, closed on exec */
static napi_value prepare_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  int fd = int_of(env, argv[0]);
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return result_of(env, -1);
  return result_of(env, fcntl(fd, F_SETFD, FD_CLOEXEC));
}

/* ---------------------------------------------------------------------------------------------- the process */

/* setIoFlusher(): memory taken while serving a write-back must not wait for a write-back (root only) */
static napi_value set_io_flusher(napi_env env, napi_callback_info info) {
  (void)info;
  return result_of(env, prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0));
}

/* disableHugePages(): no transparent huge pages for this process and those it starts */
static napi_value disable_huge_pages(napi_env env, napi_callback_info info) {
  (void)info;
  return result_of(env, prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
}

/* trimMemory(): free memory that malloc keeps goes back to the system; 1 if there was any, 0 where malloc cannot (musl) */
static napi_value trim_memory(napi_env env, napi_callback_info info) {
  (void)info;
#ifdef __GLIBC__
  return number(env, malloc_trim(0));
#else
  return number(env, 0);
#endif
}

/* raiseOpenFiles(wanted) -> the limit that was accepted; tries two thirds of it while the system refuses */
static napi_value raise_open_files(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct rlimit now;
  if (getrlimit(RLIMIT_NOFILE, &now) < 0) return result_of(env, -1);
  for (rlim_t wanted = (rlim_t)int_of(env, argv[0]); wanted > now.rlim_cur; wanted = wanted * 2 / 3) {
    struct rlimit raised = {wanted, now.rlim_max > wanted ? now.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return number(env, (int64_t)wanted);
  }
  return number(env, (int64_t)now.rlim_cur);
}

void offer_system(napi_env env, napi_value exports) {
  offer(env, exports, "openDevice", open_device, NULL);
  offer(env, exports, "mount", mount_device, NULL);
  offer(env, exports, "socketPair", socket_pair, NULL);
  offer(env, exports, "receiveDescriptor", receive_descriptor, NULL);
  offer(env, exports, "prepareDescriptor", prepare_descriptor, NULL);
  offer(env, exports, "setIoFlusher", set_io_flusher, NULL);
  offer(env, exports, "disableHugePages", disable_huge_pages, NULL);
  offer(env, exports, "raiseOpenFiles", raise_open_files, NULL);
  offer(env, exports, "trimMemory", trim_memory, NULL);
}
