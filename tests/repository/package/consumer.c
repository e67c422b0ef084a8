/* The same in C. */
#include <octet/octet_c.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, octet_last_error());
  return 1;
}

int main(int argc, char** argv) {
  octet_model* model = NULL;
  octet_session* session = NULL;
  octet_value_info x, y;
  octet_tensor in, out;
  int64_t shape[8];
  size_t count = 1, i, best = 0;
  if (argc != 2) return 2;
  if (octet_model_load("no such file", NULL, &model) != OCTET_IO && octet_last_error()[0] == 0) return 3;
  if (octet_model_load(argv[1], NULL, &model) != OCTET_OK) return failed("load");
  if (octet_model_input(model, 0, &x) != OCTET_OK || octet_model_output(model, 0, &y) != OCTET_OK || x.rank > 8) return failed("describe");
  for (i = 0; i < x.rank; ++i) {
    shape[i] = x.shape[i] < 1 ? 1 : x.shape[i];
    count *= (size_t)shape[i];
  }
  in.data = calloc(count, sizeof(float));
  in.dtype = OCTET_FLOAT32;
  in.rank = x.rank;
  in.shape = shape;
  if (octet_session_create(model, 1, &session) != OCTET_OK) return failed("session");
  if (octet_set_input(session, x.name, &in) != OCTET_OK) return failed("input");
  if (octet_run(session) != OCTET_OK) return failed("run");
  if (octet_get_output(session, y.name, &out) != OCTET_OK) return failed("output");
  for (i = 1; i < (size_t)out.shape[out.rank - 1]; ++i)
    if (((float*)out.data)[i] > ((float*)out.data)[best]) best = i;
  printf("class %zu on %s\n", best, octet_model_isa(model));
  free(in.data);
  octet_session_free(session);
  octet_model_free(model);
  return 0;
}
