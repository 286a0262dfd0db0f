/*
 * What a C application may do wrong, and the exact code that each mistake is answered with.
 *
 * Usage: negative MODULE ENTRIES. ENTRIES is the length of the longest templates. A card is in the first slot, whose
 * authentication key opens with the PIN 12345. Prints each disagreement and ends with 1 if there was one. Runs under
 * valgrind too, so it frees what it takes and unloads the module before it ends.
 */

#define _DEFAULT_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pkcs11.h>

#define NOWHERE ((CK_ULONG)-1)
/* More than any address space has room for. */
#define ABSURD ((CK_ULONG)1 << 63)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static CK_FUNCTION_LIST_3_2 *p11;
static unsigned long checks, failures, entries;

static void check(const char *what, int line, CK_RV got, CK_RV wanted)
{
    checks++;
    if (got != wanted) {
        failures++;
        printf("line %d: %s: 0x%lx instead of 0x%lx\n", line, what, got, wanted);
    }
}

#define CHECK(call, wanted) check(#call, __LINE__, (call), (wanted))
#define EXPECT(condition) check(#condition, __LINE__, (condition) ? CKR_OK : CKR_GENERAL_ERROR, CKR_OK)

static CK_UTF8CHAR PIN[] = "12345";
static CK_BYTE TEXT[] = "abc";

static void *load(const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetInterface get;
    CK_INTERFACE *interface = NULL;
    CK_VERSION version = {3, 2};
    if (module == NULL) {
        printf("%s\n", dlerror());
        exit(2);
    }
    *(void **)&get = dlsym(module, "C_GetInterface");
    CHECK(get(NULL, &version, &interface, 0), CKR_OK);
    p11 = interface->pFunctionList;
    return module;
}

/* Before C_Initialize and after C_Finalize. */
static void without_initialization(void)
{
    CK_INFO info;
    CK_ULONG count = 0;
    CK_FUNCTION_LIST *list = NULL;
    CK_INTERFACE *interface = NULL;
    CK_UTF8CHAR other[] = "Vendor";
    CK_VERSION version = {3, 3};

    CHECK(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
    CHECK(p11->C_GetInfo(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    CHECK(p11->C_GetSlotList(CK_FALSE, NULL, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
    CHECK(p11->C_CloseSession(1), CKR_CRYPTOKI_NOT_INITIALIZED);
    CHECK(p11->C_SessionCancel(1, CKF_SIGN), CKR_CRYPTOKI_NOT_INITIALIZED);
    CHECK(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &count, NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    CHECK(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    CHECK(p11->C_GetFunctionList(NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetFunctionList(&list), CKR_OK);
    CHECK(p11->C_GetInterfaceList(NULL, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetInterface(NULL, NULL, NULL, 0), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetInterface(other, NULL, &interface, 0), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetInterface(NULL, &version, &interface, 0), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetInterface(NULL, NULL, &interface, CKF_INTERFACE_FORK_SAFE), CKR_ARGUMENTS_BAD);
}

/* ---- the application's own mutexes ---- */

static unsigned long made, held;

static CK_RV create_mutex(void **mutex)
{
    pthread_mutex_t *made_here = malloc(sizeof *made_here);
    if (made_here == NULL || pthread_mutex_init(made_here, NULL) != 0)
        return CKR_HOST_MEMORY;
    made++;
    *mutex = made_here;
    return CKR_OK;
}

static CK_RV destroy_mutex(void *mutex)
{
    made--;
    pthread_mutex_destroy(mutex);
    free(mutex);
    return CKR_OK;
}

static CK_RV lock_mutex(void *mutex)
{
    if (pthread_mutex_lock(mutex) != 0)
        return CKR_MUTEX_BAD;
    held++;
    return CKR_OK;
}

static CK_RV unlock_mutex(void *mutex)
{
    held--;
    return pthread_mutex_unlock(mutex) == 0 ? CKR_OK : CKR_MUTEX_NOT_LOCKED;
}

static CK_RV refuse_mutex(void *mutex)
{
    (void)mutex;
    return CKR_MUTEX_BAD;
}

static void initialization(void)
{
    CK_C_INITIALIZE_ARGS arguments;
    CK_INFO info;

    memset(&arguments, 0, sizeof arguments);
    arguments.pReserved = &arguments;
    CHECK(p11->C_Initialize(&arguments), CKR_ARGUMENTS_BAD);
    arguments.pReserved = NULL;
    arguments.CreateMutex = create_mutex;
    CHECK(p11->C_Initialize(&arguments), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Initialize((CK_BYTE *)&arguments + 1), CKR_ARGUMENTS_BAD);
    arguments.DestroyMutex = destroy_mutex;
    arguments.LockMutex = refuse_mutex;
    arguments.UnlockMutex = unlock_mutex;
    CHECK(p11->C_Initialize(&arguments), CKR_OK);
    CHECK(p11->C_GetInfo(&info), CKR_GENERAL_ERROR);
    CHECK(p11->C_Finalize(NULL), CKR_OK);
    arguments.LockMutex = lock_mutex;
    CHECK(p11->C_Initialize(&arguments), CKR_OK);
    EXPECT(made == 1);
    CHECK(p11->C_GetInfo(&info), CKR_OK);
    CHECK(p11->C_Initialize(&arguments), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    CHECK(p11->C_Finalize(&info), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Finalize(NULL), CKR_OK);
    EXPECT(made == 0 && held == 0);
}

/* ---- slots and tokens ---- */

static void slots(CK_SLOT_ID slot)
{
    CK_SLOT_ID list[64];
    CK_ULONG count = 0;
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token;
    CK_MECHANISM_INFO mechanism;
    CK_MECHANISM_TYPE types[256];
    CK_UTF8CHAR label[32];
    const CK_SLOT_ID nowhere[] = {slot + 1000, NOWHERE, ABSURD};
    size_t i;

    CHECK(p11->C_GetInfo(NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetSlotList(CK_TRUE, list, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetSlotList(CK_TRUE, NULL, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetSlotList(CK_TRUE, list, &count), CKR_BUFFER_TOO_SMALL);
    EXPECT(count == 1);
    count = ABSURD;
    CHECK(p11->C_GetSlotList(CK_TRUE, list, &count), CKR_ARGUMENTS_BAD);
    count = LENGTH(list);
    CHECK(p11->C_GetSlotList(CK_TRUE, (CK_SLOT_ID *)((CK_BYTE *)list + 1), &count), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetSlotInfo(slot, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetTokenInfo(slot, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetMechanismList(slot, types, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetMechanismInfo(slot, CKM_VENDOR_DEFINED, &mechanism), CKR_MECHANISM_INVALID);
    CHECK(p11->C_GetMechanismInfo(slot, NOWHERE, &mechanism), CKR_MECHANISM_INVALID);
    CHECK(p11->C_GetMechanismInfo(slot, CKM_AES_CBC, &mechanism), CKR_MECHANISM_INVALID);
    count = 1;
    CHECK(p11->C_GetMechanismList(slot, types, &count), CKR_BUFFER_TOO_SMALL);
    EXPECT(count > 1 && count <= LENGTH(types));
    CHECK(p11->C_GetMechanismList(slot, types, &count), CKR_OK);
    for (i = 0; i < LENGTH(nowhere); i++) {
        CHECK(p11->C_GetSlotInfo(nowhere[i], &slot_info), CKR_SLOT_ID_INVALID);
        CHECK(p11->C_GetTokenInfo(nowhere[i], &token), CKR_SLOT_ID_INVALID);
        CHECK(p11->C_GetMechanismList(nowhere[i], NULL, &count), CKR_SLOT_ID_INVALID);
        CHECK(p11->C_GetMechanismInfo(nowhere[i], CKM_RSA_PKCS, &mechanism), CKR_SLOT_ID_INVALID);
        CHECK(p11->C_InitToken(nowhere[i], PIN, 5, label), CKR_SLOT_ID_INVALID);
        CHECK(p11->C_CloseAllSessions(nowhere[i]), CKR_SLOT_ID_INVALID);
        CHECK(p11->C_OpenSession(nowhere[i], CKF_SERIAL_SESSION, NULL, NULL, &count), CKR_SLOT_ID_INVALID);
    }
    CHECK(p11->C_InitToken(slot, PIN, 5, label), CKR_FUNCTION_NOT_SUPPORTED);
    CHECK(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, NULL, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, list, list), CKR_ARGUMENTS_BAD);
}

/* ---- sessions ---- */

/* Every function on a session, with a handle that is none. */
static void bad_handle(CK_SESSION_HANDLE none)
{
    CK_SESSION_INFO info;
    CK_ATTRIBUTE attribute = {CKA_CLASS, NULL, 0};
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    CK_BYTE buffer[256];
    CK_ULONG length = sizeof buffer;
    CK_OBJECT_HANDLE object = 1;
    CK_FLAGS flags;
    CK_RV wanted = CKR_SESSION_HANDLE_INVALID;

    CHECK(p11->C_CloseSession(none), wanted);
    CHECK(p11->C_GetSessionInfo(none, &info), wanted);
    CHECK(p11->C_SessionCancel(none, CKF_SIGN), wanted);
    CHECK(p11->C_GetSessionValidationFlags(none, CKS_LAST_VALIDATION_OK, &flags), wanted);
    CHECK(p11->C_Login(none, CKU_USER, PIN, 5), wanted);
    CHECK(p11->C_LoginUser(none, CKU_USER, PIN, 5, NULL, 0), wanted);
    CHECK(p11->C_Logout(none), wanted);
    CHECK(p11->C_SetPIN(none, PIN, 5, PIN, 5), wanted);
    CHECK(p11->C_InitPIN(none, PIN, 5), wanted);
    CHECK(p11->C_GetOperationState(none, buffer, &length), wanted);
    CHECK(p11->C_SetOperationState(none, buffer, length, 0, 0), wanted);
    CHECK(p11->C_CreateObject(none, &attribute, 1, &object), wanted);
    CHECK(p11->C_CopyObject(none, object, &attribute, 1, &object), wanted);
    CHECK(p11->C_DestroyObject(none, object), wanted);
    CHECK(p11->C_GetObjectSize(none, object, &length), wanted);
    CHECK(p11->C_GetAttributeValue(none, object, &attribute, 1), wanted);
    CHECK(p11->C_SetAttributeValue(none, object, &attribute, 1), wanted);
    CHECK(p11->C_FindObjectsInit(none, NULL, 0), wanted);
    CHECK(p11->C_FindObjects(none, &object, 1, &length), wanted);
    CHECK(p11->C_FindObjectsFinal(none), wanted);
    CHECK(p11->C_EncryptInit(none, &mechanism, object), wanted);
    CHECK(p11->C_DecryptInit(none, &mechanism, object), wanted);
    CHECK(p11->C_DigestInit(none, &mechanism), wanted);
    CHECK(p11->C_DigestInit(none, NULL), wanted);
    CHECK(p11->C_DigestUpdate(none, TEXT, 3), wanted);
    CHECK(p11->C_DigestKey(none, object), wanted);
    CHECK(p11->C_SignInit(none, &mechanism, object), wanted);
    length = sizeof buffer;
    CHECK(p11->C_Sign(none, TEXT, 3, buffer, &length), wanted);
    CHECK(p11->C_SignUpdate(none, TEXT, 3), wanted);
    CHECK(p11->C_SignFinal(none, buffer, &length), wanted);
    CHECK(p11->C_SignRecoverInit(none, &mechanism, object), wanted);
    CHECK(p11->C_VerifyInit(none, &mechanism, object), wanted);
    CHECK(p11->C_Verify(none, TEXT, 3, buffer, sizeof buffer), wanted);
    CHECK(p11->C_VerifyRecoverInit(none, &mechanism, object), wanted);
    CHECK(p11->C_GenerateKey(none, &mechanism, &attribute, 1, &object), wanted);
    CHECK(p11->C_GenerateKeyPair(none, &mechanism, &attribute, 1, &attribute, 1, &object, &object), wanted);
    CHECK(p11->C_WrapKey(none, &mechanism, object, object, buffer, &length), wanted);
    CHECK(p11->C_UnwrapKey(none, &mechanism, object, buffer, length, &attribute, 1, &object), wanted);
    CHECK(p11->C_DeriveKey(none, &mechanism, object, &attribute, 1, &object), wanted);
    CHECK(p11->C_SeedRandom(none, TEXT, 3), wanted);
    CHECK(p11->C_GenerateRandom(none, buffer, 8), wanted);
    CHECK(p11->C_GetFunctionStatus(none), wanted);
    CHECK(p11->C_CancelFunction(none), wanted);
    CHECK(p11->C_MessageSignInit(none, &mechanism, object), wanted);
    CHECK(p11->C_MessageSignFinal(none), wanted);
    CHECK(p11->C_EncapsulateKey(none, &mechanism, object, &attribute, 1, buffer, &length, &object), wanted);
    CHECK(p11->C_AsyncComplete(none, TEXT, NULL), wanted);
}

static void sessions(CK_SLOT_ID slot)
{
    CK_SESSION_HANDLE session, closed;
    CK_SESSION_INFO info;
    CK_FLAGS flags = 99;

    CHECK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_OpenSession(slot, 0, NULL, NULL, &session), CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    CHECK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, NULL, NULL, &session),
          CKR_SESSION_ASYNC_NOT_SUPPORTED);
    CHECK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &closed), CKR_OK);
    CHECK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    EXPECT(closed != session);
    CHECK(p11->C_CloseSession(closed), CKR_OK);
    bad_handle(closed);
    bad_handle(CK_INVALID_HANDLE);
    bad_handle(NOWHERE);
    CHECK(p11->C_GetSessionInfo(session, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetSessionInfo(session, &info), CKR_OK);
    EXPECT(info.state == CKS_RO_PUBLIC_SESSION && info.flags == CKF_SERIAL_SESSION);
    CHECK(p11->C_SetPIN(session, PIN, 5, PIN, 5), CKR_SESSION_READ_ONLY);
    CHECK(p11->C_GetSessionValidationFlags(session, CKS_LAST_VALIDATION_OK, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetSessionValidationFlags(session, 77, &flags), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetSessionValidationFlags(session, CKS_LAST_VALIDATION_OK, &flags), CKR_OK);
    EXPECT(flags == 0);
    CHECK(p11->C_SessionCancel(session, NOWHERE), CKR_OK);
    CHECK(p11->C_CloseAllSessions(slot), CKR_OK);
    CHECK(p11->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
}

/* ---- what the module does not have ---- */

static void refused(CK_SESSION_HANDLE session)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    CK_BYTE buffer[256];
    CK_ULONG length = sizeof buffer;
    CK_OBJECT_HANDLE object = 1;
    CK_ASYNC_DATA result;
    CK_RV wanted = CKR_FUNCTION_NOT_SUPPORTED;

    CHECK(p11->C_GetOperationState(session, buffer, &length), wanted);
    CHECK(p11->C_SetOperationState(session, buffer, length, 0, 0), wanted);
    CHECK(p11->C_DeriveKey(session, &mechanism, object, NULL, 0, &object), wanted);
    CHECK(p11->C_DigestEncryptUpdate(session, TEXT, 3, buffer, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_DecryptDigestUpdate(session, TEXT, 3, buffer, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_SignEncryptUpdate(session, TEXT, 3, buffer, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_DecryptVerifyUpdate(session, TEXT, 3, buffer, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_MessageEncryptInit(session, &mechanism, object), wanted);
    CHECK(p11->C_EncryptMessage(session, NULL, 0, NULL, 0, TEXT, 3, buffer, &length), wanted);
    CHECK(p11->C_EncryptMessageBegin(session, NULL, 0, NULL, 0), wanted);
    CHECK(p11->C_EncryptMessageNext(session, NULL, 0, TEXT, 3, buffer, &length, 0), wanted);
    CHECK(p11->C_MessageEncryptFinal(session), wanted);
    CHECK(p11->C_MessageDecryptInit(session, &mechanism, object), wanted);
    CHECK(p11->C_DecryptMessage(session, NULL, 0, NULL, 0, TEXT, 3, buffer, &length), wanted);
    CHECK(p11->C_DecryptMessageBegin(session, NULL, 0, NULL, 0), wanted);
    CHECK(p11->C_DecryptMessageNext(session, NULL, 0, TEXT, 3, buffer, &length, 0), wanted);
    CHECK(p11->C_MessageDecryptFinal(session), wanted);
    CHECK(p11->C_MessageSignInit(session, &mechanism, object), wanted);
    CHECK(p11->C_SignMessage(session, NULL, 0, TEXT, 3, buffer, &length), wanted);
    CHECK(p11->C_SignMessageBegin(session, NULL, 0), wanted);
    CHECK(p11->C_SignMessageNext(session, NULL, 0, TEXT, 3, buffer, &length), wanted);
    CHECK(p11->C_MessageSignFinal(session), wanted);
    CHECK(p11->C_MessageVerifyInit(session, &mechanism, object), wanted);
    CHECK(p11->C_VerifyMessage(session, NULL, 0, TEXT, 3, buffer, length), wanted);
    CHECK(p11->C_VerifyMessageBegin(session, NULL, 0), wanted);
    CHECK(p11->C_VerifyMessageNext(session, NULL, 0, TEXT, 3, buffer, length), wanted);
    CHECK(p11->C_MessageVerifyFinal(session), wanted);
    CHECK(p11->C_EncapsulateKey(session, &mechanism, object, NULL, 0, buffer, &length, &object), wanted);
    CHECK(p11->C_DecapsulateKey(session, &mechanism, object, NULL, 0, buffer, length, &object), wanted);
    CHECK(p11->C_VerifySignature(session, TEXT, 3), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_VerifySignatureUpdate(session, TEXT, 3), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_VerifySignatureFinal(session), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_VerifySignatureInit(session, &mechanism, 0, buffer, length), CKR_KEY_HANDLE_INVALID);
    CHECK(p11->C_GenerateKey(session, &mechanism, NULL, 0, &object), CKR_MECHANISM_INVALID);
    CHECK(p11->C_CopyObject(session, 0, NULL, 0, &object), CKR_OBJECT_HANDLE_INVALID);
    CHECK(p11->C_AsyncComplete(session, TEXT, &result), wanted);
    CHECK(p11->C_AsyncGetID(session, TEXT, &length), wanted);
    CHECK(p11->C_AsyncJoin(session, TEXT, 0, buffer, sizeof buffer), wanted);
    CHECK(p11->C_WrapKeyAuthenticated(session, &mechanism, object, object, NULL, 0, buffer, &length), wanted);
    CHECK(p11->C_UnwrapKeyAuthenticated(session, &mechanism, object, buffer, 1, NULL, 0, NULL, 0, &object),
          wanted);
    CHECK(p11->C_GetFunctionStatus(session), CKR_FUNCTION_NOT_PARALLEL);
    CHECK(p11->C_CancelFunction(session), CKR_FUNCTION_NOT_PARALLEL);
    CHECK(p11->C_SeedRandom(session, TEXT, 3), CKR_RANDOM_SEED_NOT_SUPPORTED);
}

/* ---- objects ---- */

static CK_OBJECT_HANDLE find(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class)
{
    CK_ATTRIBUTE template = {CKA_CLASS, &class, sizeof class};
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_ULONG found = 0;
    CHECK(p11->C_FindObjectsInit(session, &template, 1), CKR_OK);
    CHECK(p11->C_FindObjects(session, &object, 1, &found), CKR_OK);
    CHECK(p11->C_FindObjectsFinal(session), CKR_OK);
    return found == 1 ? object : CK_INVALID_HANDLE;
}

static CK_ULONG matching(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG entries)
{
    CK_OBJECT_HANDLE objects[64];
    CK_ULONG found = 0;
    CHECK(p11->C_FindObjectsInit(session, template, entries), CKR_OK);
    CHECK(p11->C_FindObjects(session, objects, LENGTH(objects), &found), CKR_OK);
    CHECK(p11->C_FindObjectsFinal(session), CKR_OK);
    return found;
}

static void searches(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE attribute = {CKA_CLASS, &class, sizeof class};
    CK_ATTRIBUTE *many = calloc(entries, sizeof *many);
    CK_OBJECT_HANDLE object;
    CK_ULONG found, i;

    if (many == NULL)
        exit(2);
    CHECK(p11->C_FindObjects(session, &object, 1, &found), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_FindObjectsInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_FindObjectsInit(session, NULL, NOWHERE), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_FindObjectsInit(session, &attribute, NOWHERE), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_FindObjectsInit(session, (CK_ATTRIBUTE *)((CK_BYTE *)many + 1), 1), CKR_ARGUMENTS_BAD);
    attribute.pValue = NULL;
    CHECK(p11->C_FindObjectsInit(session, &attribute, 1), CKR_ARGUMENTS_BAD);
    attribute.pValue = &class;
    attribute.ulValueLen = NOWHERE;
    CHECK(p11->C_FindObjectsInit(session, &attribute, 1), CKR_ARGUMENTS_BAD);

    /* None of these began a search. */
    CHECK(p11->C_FindObjects(session, &object, 1, &found), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
    CHECK(p11->C_FindObjectsInit(session, NULL, 0), CKR_OPERATION_ACTIVE);
    CHECK(p11->C_FindObjects(session, NULL, 1, &found), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_FindObjects(session, &object, 1, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_FindObjects(session, &object, ABSURD, &found), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_FindObjects(session, NULL, 0, &found), CKR_OK);
    EXPECT(found == 0);
    CHECK(p11->C_SessionCancel(session, CKF_FIND_OBJECTS), CKR_OK);
    CHECK(p11->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);

    /* Values of the wrong type or length match nothing. */
    attribute.ulValueLen = sizeof class;
    EXPECT(matching(session, &attribute, 1) == 1);
    attribute.ulValueLen = 1;
    EXPECT(matching(session, &attribute, 1) == 0);
    attribute.ulValueLen = 0;
    EXPECT(matching(session, &attribute, 1) == 0);
    attribute.type = CKA_TOKEN;
    attribute.ulValueLen = sizeof class;
    EXPECT(matching(session, &attribute, 1) == 0);
    attribute.type = NOWHERE;
    EXPECT(matching(session, &attribute, 1) == 0);

    /* A very long template, first all true, then the last entry false. */
    for (i = 0; i < entries; i++) {
        many[i].type = CKA_TOKEN;
        many[i].pValue = &yes;
        many[i].ulValueLen = sizeof yes;
    }
    EXPECT(matching(session, many, entries) > 0);
    many[entries - 1].type = CKA_CLASS;
    EXPECT(matching(session, many, entries) == 0);
    free(many);
}

static void attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE certificate, CK_OBJECT_HANDLE key)
{
    CK_BYTE byte = 0x5A;
    CK_ULONG size;
    CK_BBOOL flag = 7;
    CK_ATTRIBUTE attribute = {CKA_VALUE, NULL, 0};
    CK_ATTRIBUTE mixed[4] = {
        {CKA_TOKEN, &flag, sizeof flag}, {NOWHERE, &byte, 1}, {CKA_VALUE, &byte, 1}, {CKA_LABEL, NULL, 0}};
    CK_ATTRIBUTE secret = {CKA_PRIVATE_EXPONENT, NULL, 0};
    CK_ATTRIBUTE *many = calloc(entries, sizeof *many);
    CK_ULONG i;

    if (many == NULL)
        exit(2);
    CHECK(p11->C_GetAttributeValue(session, certificate, NULL, 1), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetAttributeValue(session, certificate, &attribute, NOWHERE), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetAttributeValue(session, CK_INVALID_HANDLE, &attribute, 1), CKR_OBJECT_HANDLE_INVALID);
    CHECK(p11->C_GetAttributeValue(session, NOWHERE, &attribute, 1), CKR_OBJECT_HANDLE_INVALID);
    CHECK(p11->C_GetObjectSize(session, NOWHERE, &size), CKR_OBJECT_HANDLE_INVALID);
    CHECK(p11->C_GetObjectSize(session, certificate, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GetAttributeValue(session, certificate, NULL, 0), CKR_OK);
    CHECK(p11->C_GetAttributeValue(session, certificate, &attribute, 1), CKR_OK);
    EXPECT(attribute.ulValueLen > 100);

    /* Each entry is answered, whatever the others are; the first error is the answer. */
    CHECK(p11->C_GetAttributeValue(session, certificate, mixed, 4), CKR_ATTRIBUTE_TYPE_INVALID);
    EXPECT(flag == CK_TRUE && mixed[0].ulValueLen == 1);
    EXPECT(mixed[1].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    EXPECT(mixed[2].ulValueLen == CK_UNAVAILABLE_INFORMATION && byte == 0x5A);
    EXPECT(mixed[3].ulValueLen > 0 && mixed[3].ulValueLen < 200);
    mixed[2].ulValueLen = 1;
    CHECK(p11->C_GetAttributeValue(session, certificate, &mixed[2], 1), CKR_BUFFER_TOO_SMALL);
    CHECK(p11->C_GetAttributeValue(session, key, &secret, 1), CKR_ATTRIBUTE_SENSITIVE);
    EXPECT(secret.ulValueLen == CK_UNAVAILABLE_INFORMATION);

    for (i = 0; i < entries; i++)
        many[i].type = CKA_LABEL;
    CHECK(p11->C_GetAttributeValue(session, certificate, many, entries), CKR_OK);
    EXPECT(many[0].ulValueLen == many[entries - 1].ulValueLen && many[0].ulValueLen > 0);
    free(many);
}

/* ---- the card's own keys ---- */

static CK_RV generate(CK_SESSION_HANDLE session, CK_ATTRIBUTE *public, CK_ULONG publics, CK_ATTRIBUTE *private,
                      CK_ULONG privates)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE one = 0, other = 0;
    CK_RV got = p11->C_GenerateKeyPair(session, &mechanism, public, publics, private, privates, &one, &other);

    EXPECT(one == 0 && other == 0);
    return got;
}

/* Who is no program of the counter has no key made, and hears first what else is wrong. */
static void key_pairs(CK_SLOT_ID slot, CK_SESSION_HANDLE session)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG bits = 2048, few = 1024;
    CK_BYTE three[] = {3}, usual[] = {0, 1, 0, 1};
    CK_KEY_TYPE ec = CKK_EC;
    CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    CK_ATTRIBUTE public[] = {
        {CKA_TOKEN, &yes, sizeof yes}, {CKA_MODULUS_BITS, &bits, sizeof bits}, {CKA_LABEL, TEXT, 3}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &yes, sizeof yes}, {CKA_SENSITIVE, &yes, sizeof yes}};
    CK_ATTRIBUTE *extra = &public[2];
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, TEXT, 3};
    CK_MECHANISM_INFO info;
    CK_SESSION_HANDLE read_only;
    CK_OBJECT_HANDLE object;

    CHECK(p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS_KEY_PAIR_GEN, &info), CKR_MECHANISM_INVALID);
    CHECK(p11->C_GenerateKeyPair(session, NULL, public, 2, private, 1, &object, &object), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GenerateKeyPair(session, &mechanism, public, 2, private, 1, NULL, &object), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GenerateKeyPair(session, &mechanism, public, 2, private, 1, &object, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GenerateKeyPair(session, &mechanism, public, 2, private, 1, &object, &object),
          CKR_MECHANISM_PARAM_INVALID);
    mechanism.mechanism = CKM_EC_KEY_PAIR_GEN;
    CHECK(p11->C_GenerateKeyPair(session, &mechanism, public, 2, private, 1, &object, &object),
          CKR_MECHANISM_INVALID);
    CHECK(generate(session, NULL, 2, private, 1), CKR_ARGUMENTS_BAD);
    CHECK(generate(session, public, NOWHERE, private, 1), CKR_ARGUMENTS_BAD);
    CHECK(generate(session, NULL, 0, NULL, 0), CKR_TEMPLATE_INCONSISTENT);
    CHECK(generate(session, public, 1, private, 1), CKR_TEMPLATE_INCOMPLETE);
    CHECK(generate(session, &public[1], 1, private, 1), CKR_TEMPLATE_INCONSISTENT);
    CHECK(generate(session, public, 2, &private[1], 1), CKR_TEMPLATE_INCONSISTENT);
    public[1].pValue = &few;
    CHECK(generate(session, public, 2, private, 1), CKR_KEY_SIZE_RANGE);
    public[1].ulValueLen = 1;
    CHECK(generate(session, public, 2, private, 1), CKR_ATTRIBUTE_VALUE_INVALID);
    public[1] = (CK_ATTRIBUTE){CKA_MODULUS_BITS, &bits, sizeof bits};
    private[1].pValue = &no;
    CHECK(generate(session, public, 2, private, 2), CKR_TEMPLATE_INCONSISTENT);
    private[1].ulValueLen = sizeof bits;
    private[1].pValue = &bits;
    CHECK(generate(session, public, 2, private, 2), CKR_ATTRIBUTE_VALUE_INVALID);
    *extra = (CK_ATTRIBUTE){CKA_PUBLIC_EXPONENT, three, sizeof three};
    CHECK(generate(session, public, 3, private, 1), CKR_ATTRIBUTE_VALUE_INVALID);
    *extra = (CK_ATTRIBUTE){CKA_ID, three, sizeof three};
    CHECK(generate(session, public, 3, private, 1), CKR_ATTRIBUTE_READ_ONLY);
    *extra = (CK_ATTRIBUTE){CKA_KEY_TYPE, &ec, sizeof ec};
    CHECK(generate(session, public, 3, private, 1), CKR_TEMPLATE_INCONSISTENT);
    *extra = (CK_ATTRIBUTE){CKA_CLASS, &secret, sizeof secret};
    CHECK(generate(session, public, 3, private, 1), CKR_TEMPLATE_INCONSISTENT);
    *extra = (CK_ATTRIBUTE){CKA_WRAP, &yes, sizeof yes};
    CHECK(generate(session, public, 3, private, 1), CKR_TEMPLATE_INCONSISTENT);
    *extra = public[0];
    CHECK(generate(session, public, 3, private, 1), CKR_TEMPLATE_INCONSISTENT);
    *extra = (CK_ATTRIBUTE){CKA_PRIME_1, three, sizeof three};
    CHECK(generate(session, public, 3, private, 1), CKR_ATTRIBUTE_TYPE_INVALID);

    /* Nothing is wrong but who asks. */
    *extra = (CK_ATTRIBUTE){CKA_PUBLIC_EXPONENT, usual, sizeof usual};
    private[1] = (CK_ATTRIBUTE){CKA_SENSITIVE, &yes, sizeof yes};
    CHECK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &read_only), CKR_OK);
    CHECK(generate(read_only, public, 3, private, 2), CKR_SESSION_READ_ONLY);
    CHECK(p11->C_CloseSession(read_only), CKR_OK);
    CHECK(generate(session, public, 3, private, 2), CKR_TOKEN_WRITE_PROTECTED);
}

/* The same of a certificate: the token's own, which nobody asked to be there twice. */
static void certificates(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE certificate)
{
    static CK_BYTE value[8193];
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509, wtls = CKC_WTLS;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class},
                               {CKA_CERTIFICATE_TYPE, &type, sizeof type},
                               {CKA_VALUE, value, sizeof value},
                               {CKA_TOKEN, &yes, sizeof yes},
                               {CKA_ID, TEXT, 3}};
    CK_ATTRIBUTE *der = &template[2], *extra = &template[4];
    CK_OBJECT_HANDLE object = 0;

    CHECK(p11->C_CreateObject(session, template, 4, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    der->ulValueLen = 8192;
    CHECK(p11->C_CreateObject(session, template, 4, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    der->ulValueLen = 0;
    CHECK(p11->C_CreateObject(session, template, 4, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    der->ulValueLen = sizeof value;
    CHECK(p11->C_GetAttributeValue(session, certificate, der, 1), CKR_OK);
    CHECK(p11->C_CreateObject(session, template, 4, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_CreateObject(session, template, 3, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    CHECK(p11->C_CreateObject(session, template, 5, &object), CKR_TEMPLATE_INCONSISTENT);
    *extra = template[3];
    CHECK(p11->C_CreateObject(session, template, 5, &object), CKR_TEMPLATE_INCONSISTENT);
    *extra = (CK_ATTRIBUTE){CKA_TRUSTED, &yes, sizeof yes};
    CHECK(p11->C_CreateObject(session, template, 5, &object), CKR_TEMPLATE_INCONSISTENT);
    *extra = (CK_ATTRIBUTE){CKA_SIGN, &yes, sizeof yes};
    CHECK(p11->C_CreateObject(session, template, 5, &object), CKR_ATTRIBUTE_TYPE_INVALID);
    *extra = (CK_ATTRIBUTE){CKA_UNIQUE_ID, TEXT, 3};
    CHECK(p11->C_CreateObject(session, template, 5, &object), CKR_ATTRIBUTE_READ_ONLY);
    template[3].pValue = &no;
    CHECK(p11->C_CreateObject(session, template, 4, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    template[3].pValue = &yes;
    template[1].pValue = &wtls;
    CHECK(p11->C_CreateObject(session, template, 4, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    template[1] = (CK_ATTRIBUTE){CKA_LABEL, TEXT, 3};
    CHECK(p11->C_CreateObject(session, template, 4, &object), CKR_TEMPLATE_INCOMPLETE);

    /* Nothing is wrong but who asks. */
    *extra = (CK_ATTRIBUTE){CKA_CERTIFICATE_TYPE, &type, sizeof type};
    CHECK(p11->C_CreateObject(session, template, 5, &object), CKR_TOKEN_WRITE_PROTECTED);
    EXPECT(object == 0);
}

/* ---- logins ---- */

static void logins(CK_SESSION_HANDLE session)
{
    CK_UTF8CHAR letters[] = "12a45", wrong[] = "00000", name[] = "MARIO", nine[] = "123456789";

    CHECK(p11->C_Logout(session), CKR_USER_NOT_LOGGED_IN);
    CHECK(p11->C_Login(session, 99, PIN, 5), CKR_USER_TYPE_INVALID);
    CHECK(p11->C_Login(session, NOWHERE, PIN, 5), CKR_USER_TYPE_INVALID);
    CHECK(p11->C_Login(session, CKU_USER, NULL, 5), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Login(session, CKU_USER, NULL, 0), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Login(session, CKU_USER, PIN, 0), CKR_PIN_LEN_RANGE);
    CHECK(p11->C_Login(session, CKU_USER, PIN, 4), CKR_PIN_LEN_RANGE);
    CHECK(p11->C_Login(session, CKU_USER, nine, 9), CKR_PIN_LEN_RANGE);
    CHECK(p11->C_Login(session, CKU_USER, PIN, ABSURD), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Login(session, CKU_USER, letters, 5), CKR_PIN_INCORRECT);
    CHECK(p11->C_Login(session, CKU_CONTEXT_SPECIFIC, PIN, 5), CKR_USER_NOT_LOGGED_IN);
    CHECK(p11->C_LoginUser(session, CKU_USER, PIN, 5, name, 5), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_LoginUser(session, CKU_USER, PIN, 5, NULL, 5), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Login(session, CKU_USER, wrong, 5), CKR_PIN_INCORRECT);
    CHECK(p11->C_LoginUser(session, CKU_USER, PIN, 5, NULL, 0), CKR_OK);
    CHECK(p11->C_Login(session, CKU_USER, PIN, 5), CKR_USER_ALREADY_LOGGED_IN);
    CHECK(p11->C_Login(session, CKU_CONTEXT_SPECIFIC, PIN, 5), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_SetPIN(session, NULL, 5, PIN, 5), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_SetPIN(session, PIN, 5, PIN, 4), CKR_PIN_LEN_RANGE);
    CHECK(p11->C_SetPIN(session, PIN, 5, letters, 5), CKR_PIN_INVALID);
}

/* ---- operations ---- */

static void digests(CK_SESSION_HANDLE session)
{
    static const CK_BYTE ABC[] = {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e,
                                  0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    CK_MECHANISM sha1 = {CKM_SHA_1, NULL, 0}, none = {NOWHERE, NULL, 0}, bad = {CKM_SHA_1, TEXT, 3};
    CK_BYTE digest[64];
    CK_ULONG length = sizeof digest;

    CHECK(p11->C_DigestInit(session, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_DigestInit(session, &none), CKR_MECHANISM_INVALID);
    CHECK(p11->C_DigestInit(session, &bad), CKR_MECHANISM_PARAM_INVALID);
    bad.pParameter = NULL;
    CHECK(p11->C_DigestInit(session, &bad), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Digest(session, TEXT, 3, digest, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_DigestUpdate(session, TEXT, 3), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_DigestFinal(session, digest, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_DigestInit(session, &sha1), CKR_OK);
    CHECK(p11->C_DigestInit(session, &sha1), CKR_OPERATION_ACTIVE);
    CHECK(p11->C_Digest(session, NULL, 3, digest, &length), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Digest(session, TEXT, 3, digest, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Digest(session, TEXT, ABSURD, digest, &length), CKR_ARGUMENTS_BAD);
    length = 19;
    CHECK(p11->C_Digest(session, TEXT, 3, digest, &length), CKR_BUFFER_TOO_SMALL);
    EXPECT(length == 20);
    CHECK(p11->C_Digest(session, TEXT, 3, NULL, &length), CKR_OK);
    CHECK(p11->C_Digest(session, TEXT, 3, digest, &length), CKR_OK);
    EXPECT(length == 20 && memcmp(digest, ABC, 20) == 0);
    CHECK(p11->C_Digest(session, TEXT, 3, digest, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_DigestInit(session, &sha1), CKR_OK);
    CHECK(p11->C_DigestUpdate(session, TEXT, 3), CKR_OK);
    CHECK(p11->C_Digest(session, TEXT, 3, digest, &length), CKR_OPERATION_ACTIVE);
    CHECK(p11->C_DigestInit(session, &sha1), CKR_OK);
    CHECK(p11->C_DigestInit(session, NULL), CKR_OK);
    CHECK(p11->C_DigestFinal(session, digest, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_DigestInit(session, &sha1), CKR_OK);
    CHECK(p11->C_SessionCancel(session, CKF_SIGN), CKR_OK);
    CHECK(p11->C_DigestUpdate(session, TEXT, 3), CKR_OK);
    CHECK(p11->C_SessionCancel(session, CKF_DIGEST), CKR_OK);
    CHECK(p11->C_DigestUpdate(session, TEXT, 3), CKR_OPERATION_NOT_INITIALIZED);
}

static void signatures(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE public, CK_OBJECT_HANDLE private)
{
    CK_MECHANISM pkcs = {CKM_RSA_PKCS, NULL, 0}, none = {NOWHERE, NULL, 0}, bad = {CKM_RSA_PKCS, TEXT, 3};
    CK_RSA_PKCS_PSS_PARAMS parameters = {CKM_SHA256, CKG_MGF1_SHA256, 32};
    CK_MECHANISM pss = {CKM_RSA_PKCS_PSS, &parameters, sizeof parameters};
    CK_BYTE signature[512], data[300] = {0};
    CK_ULONG length = sizeof signature;

    CHECK(p11->C_SignInit(session, NULL, private), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_SignInit(session, (CK_MECHANISM *)((CK_BYTE *)&pkcs + 1), private), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_SignInit(session, &none, private), CKR_MECHANISM_INVALID);
    CHECK(p11->C_SignInit(session, &bad, private), CKR_MECHANISM_PARAM_INVALID);
    CHECK(p11->C_SignInit(session, &pkcs, CK_INVALID_HANDLE), CKR_KEY_HANDLE_INVALID);
    CHECK(p11->C_SignInit(session, &pkcs, NOWHERE), CKR_KEY_HANDLE_INVALID);
    CHECK(p11->C_SignInit(session, &pkcs, public), CKR_KEY_FUNCTION_NOT_PERMITTED);
    pss.ulParameterLen = sizeof parameters - 1;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_MECHANISM_PARAM_INVALID);
    pss.ulParameterLen = 0;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_MECHANISM_PARAM_INVALID);
    pss.ulParameterLen = ABSURD;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_ARGUMENTS_BAD);
    pss.ulParameterLen = sizeof parameters;
    pss.pParameter = NULL;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_ARGUMENTS_BAD);
    pss.pParameter = &parameters;
    parameters.hashAlg = NOWHERE;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_MECHANISM_PARAM_INVALID);
    parameters.hashAlg = CKM_SHA256;
    parameters.mgf = 99;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_MECHANISM_PARAM_INVALID);
    parameters.mgf = CKG_MGF1_SHA256;
    parameters.sLen = NOWHERE;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_MECHANISM_PARAM_INVALID);
    parameters.sLen = 65535;
    CHECK(p11->C_SignInit(session, &pss, private), CKR_MECHANISM_PARAM_INVALID);

    CHECK(p11->C_Sign(session, TEXT, 3, signature, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_SignUpdate(session, TEXT, 3), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_SignFinal(session, signature, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_SignInit(session, &pkcs, private), CKR_OK);
    CHECK(p11->C_SignInit(session, &pkcs, private), CKR_OPERATION_ACTIVE);
    CHECK(p11->C_Sign(session, NULL, 3, signature, &length), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Sign(session, TEXT, 3, signature, NULL), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_Sign(session, TEXT, ABSURD, signature, &length), CKR_ARGUMENTS_BAD);
    length = 255;
    CHECK(p11->C_Sign(session, TEXT, 3, signature, &length), CKR_BUFFER_TOO_SMALL);
    EXPECT(length == 256);
    length = NOWHERE;
    CHECK(p11->C_Sign(session, TEXT, 3, NULL, &length), CKR_OK);
    EXPECT(length == 256);
    CHECK(p11->C_Sign(session, TEXT, 3, signature, &length), CKR_OK);
    CHECK(p11->C_Sign(session, TEXT, 3, signature, &length), CKR_OPERATION_NOT_INITIALIZED);
    CHECK(p11->C_SignInit(session, &pkcs, private), CKR_OK);
    CHECK(p11->C_Sign(session, data, 246, signature, &length), CKR_DATA_LEN_RANGE);
    CHECK(p11->C_SignInit(session, &pkcs, private), CKR_OK);
    CHECK(p11->C_SignUpdate(session, data, 300), CKR_DATA_LEN_RANGE);
    CHECK(p11->C_SignInit(session, &pkcs, private), CKR_OK);
    CHECK(p11->C_SignUpdate(session, TEXT, 3), CKR_OK);
    CHECK(p11->C_Sign(session, TEXT, 3, signature, &length), CKR_OPERATION_ACTIVE);
    CHECK(p11->C_SignInit(session, &pkcs, private), CKR_OK);
    CHECK(p11->C_SignInit(session, NULL, CK_INVALID_HANDLE), CKR_OK);
    CHECK(p11->C_SignFinal(session, signature, &length), CKR_OPERATION_NOT_INITIALIZED);

    /* One buffer as input and output. */
    memcpy(signature, TEXT, 3);
    CHECK(p11->C_SignInit(session, &pkcs, private), CKR_OK);
    CHECK(p11->C_Sign(session, signature, 3, signature, &length), CKR_OK);
    CHECK(p11->C_VerifyInit(session, &pkcs, private), CKR_KEY_FUNCTION_NOT_PERMITTED);
    CHECK(p11->C_VerifyInit(session, &none, public), CKR_MECHANISM_INVALID);
    CHECK(p11->C_VerifyInit(session, &pkcs, public), CKR_OK);
    CHECK(p11->C_Verify(session, TEXT, 3, signature, length), CKR_OK);
    CHECK(p11->C_VerifyInit(session, &pkcs, public), CKR_OK);
    CHECK(p11->C_Verify(session, TEXT, 3, signature, 255), CKR_SIGNATURE_LEN_RANGE);
    signature[0] ^= 1;
    CHECK(p11->C_VerifyInit(session, &pkcs, public), CKR_OK);
    CHECK(p11->C_Verify(session, TEXT, 3, signature, 256), CKR_SIGNATURE_INVALID);
}

static void random_bytes(CK_SESSION_HANDLE session)
{
    CK_BYTE bytes[16] = {0}, zeros[16] = {0};
    CHECK(p11->C_GenerateRandom(session, NULL, 5), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GenerateRandom(session, bytes, ABSURD), CKR_ARGUMENTS_BAD);
    CHECK(p11->C_GenerateRandom(session, NULL, 0), CKR_OK);
    CHECK(p11->C_GenerateRandom(session, bytes, sizeof bytes), CKR_OK);
    EXPECT(memcmp(bytes, zeros, sizeof bytes) != 0);
}

/* ---- the process ---- */

static void *call_often(void *failed)
{
    CK_SLOT_ID slot = *(CK_SLOT_ID *)failed;
    CK_SESSION_HANDLE session;
    CK_ATTRIBUTE attribute = {CKA_LABEL, NULL, 0};
    int i;
    for (i = 0; i < 10; i++) {
        CK_OBJECT_HANDLE object;
        CK_ULONG found;
        if (p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK ||
            p11->C_FindObjectsInit(session, NULL, 0) != CKR_OK ||
            p11->C_FindObjects(session, &object, 1, &found) != CKR_OK ||
            p11->C_GetAttributeValue(session, object, &attribute, 1) != CKR_OK ||
            p11->C_CloseSession(session) != CKR_OK)
            return failed;
    }
    return NULL;
}

static void threads(CK_SLOT_ID slot)
{
    pthread_t threads[4];
    size_t i;
    for (i = 0; i < LENGTH(threads); i++)
        EXPECT(pthread_create(&threads[i], NULL, call_often, &slot) == 0);
    for (i = 0; i < LENGTH(threads); i++) {
        void *failed = &slot;
        EXPECT(pthread_join(threads[i], &failed) == 0);
        EXPECT(failed == NULL);
    }
}

static void child(CK_SLOT_ID slot)
{
    int status = 0;
    CK_SLOT_INFO info;
    pid_t pid = fork();
    if (pid == 0) {
        failures = 0;
        CHECK(p11->C_GetSlotInfo(slot, &info), CKR_CRYPTOKI_NOT_INITIALIZED);
        CHECK(p11->C_Initialize(NULL), CKR_OK);
        CHECK(p11->C_GetSlotInfo(slot, &info), CKR_OK);
        CHECK(p11->C_Finalize(NULL), CKR_OK);
        fflush(stdout);
        _exit(failures == 0 ? 0 : 1);
    }
    EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(p11->C_GetSlotInfo(slot, &info), CKR_OK);
}

int main(int count, char **arguments)
{
    CK_SLOT_ID slot = NOWHERE;
    CK_ULONG one = 1;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE certificate, public, private;
    void *module;
    int round;

    if (count != 3 || (entries = strtoul(arguments[2], NULL, 10)) == 0)
        return 2;
    module = load(arguments[1]);
    without_initialization();
    initialization();
    CHECK(p11->C_Initialize(NULL), CKR_OK);
    CHECK(p11->C_GetSlotList(CK_TRUE, &slot, &one), CKR_OK);
    slots(slot);
    sessions(slot);

    CHECK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), CKR_OK);
    refused(session);
    logins(session);
    certificate = find(session, CKO_CERTIFICATE);
    public = find(session, CKO_PUBLIC_KEY);
    private = find(session, CKO_PRIVATE_KEY);
    EXPECT(certificate != CK_INVALID_HANDLE && public != CK_INVALID_HANDLE && private != CK_INVALID_HANDLE);
    searches(session);
    attributes(session, certificate, private);
    key_pairs(slot, session);
    certificates(session, certificate);
    digests(session);
    signatures(session, public, private);
    random_bytes(session);
    threads(slot);
    child(slot);
    CHECK(p11->C_Logout(session), CKR_OK);
    CHECK(p11->C_GetObjectSize(session, private, &one), CKR_OBJECT_HANDLE_INVALID);
    CHECK(p11->C_Finalize(NULL), CKR_OK);
    without_initialization();
    dlclose(module);

    for (round = 0; round < 10; round++) {
        CK_ULONG slots = 0;
        module = load(arguments[1]);
        CHECK(p11->C_Initialize(NULL), CKR_OK);
        CHECK(p11->C_GetSlotList(CK_FALSE, NULL, &slots), CKR_OK);
        /* Every other time the application forgets to. */
        if (round % 2 == 0)
            CHECK(p11->C_Finalize(NULL), CKR_OK);
        dlclose(module);
    }
    printf("%lu checks, %lu failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
