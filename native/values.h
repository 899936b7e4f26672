/* What the parts of the addon need to talk to JavaScript. Functions that can fail answer 0 or more on success and the
 * negative errno on failure. */
#ifndef JUICEFS_VALUES_H
#define JUICEFS_VALUES_H

#ifndef NAPI_VERSION
#define NAPI_VERSION 8
#endif
#include <errno.h>
#include <node_api.h>
#include <stdint.h>
#include <stdlib.h>

/* the functions of files.c and of system.c */
void offer_files(napi_env env, napi_value exports);
void offer_system(napi_env env, napi_value exports);

#define ARGUMENTS(count) \
  size_t argc = count; \
  napi_value argv[count]; \
  void *data = NULL; \
  napi_get_cb_info(env, info, &argc, argv, NULL, &data); \
  (void)data

static inline int32_t int_of(napi_env env, napi_value value) {
  int32_t number = 0;
  napi_get_value_int32(env, value, &number);
  return number;
}

static inline napi_value number(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

static inline napi_value result_of(napi_env env, int64_t returned) { return number(env, returned < 0 ? -errno : returned); }

/* A NUL-terminated copy for the caller to free; NULL when the value is not a string. */
static inline char *text_of(napi_env env, napi_value value) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) return NULL;
  char *text = malloc(length + 1);
  if (text) napi_get_value_string_utf8(env, value, text, length + 1, &length);
  return text;
}

static inline void offer(napi_env env, napi_value object, const char *name, napi_callback function, void *data) {
  napi_value value;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, data, &value);
  napi_set_named_property(env, object, name, value);
}

#endif
