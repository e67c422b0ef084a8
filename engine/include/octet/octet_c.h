/* octet for C: the functions of octet.h with status codes.
 *
 *   octet_model* model;
 *   octet_session* session;
 *   if (octet_model_load("model.onnx", NULL, &model) != OCTET_OK) puts(octet_last_error());
 *   octet_session_create(model, 2, &session);
 *   octet_set_input(session, "x", &x);
 *   octet_run(session);
 *   octet_get_output(session, "y", &y);        valid until the next run or set_input of this session
 *   octet_session_free(session);
 *   octet_model_free(model);
 *
 * A function that can fail returns a status and leaves its results alone unless it is OCTET_OK. The message of the last
 * failure is kept for each thread. A model may be shared by threads; a session belongs to one at a time and keeps its model
 * alive. Pointers to names and shapes belong to the object they came from. Nothing throws through this interface. */
#ifndef OCTET_C_H
#define OCTET_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum octet_status {
  OCTET_OK = 0,
  OCTET_INVALID_ARGUMENT = 1, /* the caller can mend it */
  OCTET_INVALID_MODEL = 2,    /* the file is at fault */
  OCTET_UNSUPPORTED = 3,      /* valid, but not in this version */
  OCTET_IO = 4,               /* the machine */
  OCTET_OUT_OF_MEMORY = 5,
  OCTET_INTERNAL = 6 /* a bug of ours */
} octet_status;

/* Numbered as octet::DType. */
typedef enum octet_dtype {
  OCTET_UNDEFINED = 0,
  OCTET_FLOAT32 = 1,
  OCTET_FLOAT64 = 2,
  OCTET_FLOAT16 = 3,
  OCTET_BFLOAT16 = 4,
  OCTET_INT8 = 5,
  OCTET_UINT8 = 6,
  OCTET_INT16 = 7,
  OCTET_UINT16 = 8,
  OCTET_INT32 = 9,
  OCTET_UINT32 = 10,
  OCTET_INT64 = 11,
  OCTET_UINT64 = 12,
  OCTET_BOOL = 13,
  OCTET_INT4 = 14, /* one to a byte */
  OCTET_UINT4 = 15,
  OCTET_STRING = 16,
  OCTET_FLOAT8E4M3FN = 17,
  OCTET_FLOAT8E4M3FNUZ = 18,
  OCTET_FLOAT8E5M2 = 19,
  OCTET_FLOAT8E5M2FNUZ = 20,
  OCTET_FLOAT8E8M0 = 21,
  OCTET_FLOAT4E2M1 = 22, /* one to a byte, as the next two */
  OCTET_INT2 = 23,
  OCTET_UINT2 = 24
} octet_dtype;

/* Dense, row-major, not owned. */
typedef struct octet_tensor {
  void* data;
  octet_dtype dtype;
  size_t rank;
  const int64_t* shape;
} octet_tensor;

/* An input or output as the model declares it; -1 for an open dimension. */
typedef struct octet_value_info {
  const char* name;
  octet_dtype dtype;
  size_t rank;
  const int64_t* shape;
} octet_value_info;

typedef struct octet_model octet_model;
typedef struct octet_session octet_session;

const char* octet_version(void);
/* Of this thread; "" when nothing has failed yet. Valid until the next failure. */
const char* octet_last_error(void);

/* isa: "reference", "avx2", ...; NULL: the best of this CPU, capped by OCTET_ISA. */
octet_status octet_model_load(const char* path, const char* isa, octet_model** model);
void octet_model_free(octet_model* model);
const char* octet_model_isa(const octet_model* model);
size_t octet_model_input_count(const octet_model* model);
size_t octet_model_output_count(const octet_model* model);
octet_status octet_model_input(const octet_model* model, size_t index, octet_value_info* info);
octet_status octet_model_output(const octet_model* model, size_t index, octet_value_info* info);

/* threads 0: physical cores allowed by affinity and cgroup. */
octet_status octet_session_create(const octet_model* model, int threads, octet_session** session);
typedef struct octet_session_options {
  int threads;    /* as above */
  int profile;    /* not 0: take the time of every step */
  int keep_cache; /* not 0: keys and values of a decoder stay in the session, updated in place. Inputs past_key_values.N.*
                     and outputs present.N.* are its affair then; input_ids holds the new tokens only, attention_mask [batch,
                     octet_cache_length + new tokens]. */
} octet_session_options;
/* options NULL: zeros. */
octet_status octet_session_create_with(const octet_model* model, const octet_session_options* options,
                                       octet_session** session);
void octet_session_free(octet_session* session);
/* With keep_cache: how many tokens are in the cache; 0 without. */
octet_status octet_cache_length(const octet_session* session, int64_t* length);
/* Forgets those behind `length`; fails when there are fewer. */
octet_status octet_set_cache_length(octet_session* session, int64_t length);
/* Copies. */
octet_status octet_set_input(octet_session* session, const char* name, const octet_tensor* value);
octet_status octet_run(octet_session* session);
octet_status octet_get_output(octet_session* session, const char* name, octet_tensor* value);

#ifdef __cplusplus
}
#endif

#endif
