/* NSS softokn wants its parameters (which directory, which label) as the reserved argument of C_Initialize.
 * The crate has no way to hand them over without `unsafe`, so this library stands before the module: it is
 * softokn, but for a C_Initialize that takes the parameters from the environment. For tests alone. */

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long CK_RV;
enum { CKR_OK = 0, CKR_GENERAL_ERROR = 5, CKF_OS_LOCKING_OK = 2 };

/* CK_FUNCTION_LIST of PKCS#11 v2.40: a version and 68 functions, C_Initialize first. */
struct function_list {
    unsigned char version[2];
    CK_RV (*initialize)(void *);
    void (*others[67])(void);
};

/* CK_C_INITIALIZE_ARGS as NSS declares it: what the standard reserves has a name, another one follows. */
struct initialize_args {
    void (*mutex[4])(void);
    unsigned long flags;
    const char *library_parameters;
    void *reserved;
};

static struct function_list functions;
static CK_RV (*softokn_initialize)(void *);

static CK_RV initialize(void *args)
{
    struct initialize_args with_parameters = {
        .flags = CKF_OS_LOCKING_OK,
        .library_parameters = getenv("TWINSEAL_TEST_SOFTOKN_PARAMETERS"),
    };
    (void)args;
    return softokn_initialize(&with_parameters);
}

CK_RV C_GetFunctionList(struct function_list **list)
{
    void *library = dlopen(getenv("TWINSEAL_TEST_SOFTOKN"), RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(struct function_list **);
    struct function_list *softokn;
    CK_RV outcome;

    if (!library || !(get = (CK_RV(*)(struct function_list **))dlsym(library, "C_GetFunctionList")))
        return CKR_GENERAL_ERROR;
    if ((outcome = get(&softokn)) != CKR_OK)
        return outcome;
    memcpy(&functions, softokn, sizeof functions);
    softokn_initialize = functions.initialize;
    functions.initialize = initialize;
    *list = &functions;
    return CKR_OK;
}
