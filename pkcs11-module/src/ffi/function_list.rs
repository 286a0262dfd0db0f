//! The tables that applications call through, one for each version of the standard; none leaves a function out.

use cryptoki_sys::{CK_FUNCTION_LIST, CK_FUNCTION_LIST_3_0, CK_FUNCTION_LIST_3_2, CK_VERSION};

use crate::ffi::functions::*;
use crate::ffi::functions_v3::*;

/// Each version has the functions of the one before it and adds its own.
macro_rules! lists {
    (V2_40 { $($v2_40:ident)* } V3_0 { $($v3_0:ident)* } V3_2 { $($v3_2:ident)* }) => {
        /// The functions of PKCS#11 v2.40.
        pub(crate) static V2_40: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            $($v2_40: Some($v2_40),)*
        };

        /// The functions of PKCS#11 v3.0 and v3.1.
        pub(crate) static V3_0: CK_FUNCTION_LIST_3_0 = CK_FUNCTION_LIST_3_0 {
            version: CK_VERSION { major: 3, minor: 0 },
            $($v2_40: Some($v2_40),)*
            $($v3_0: Some($v3_0),)*
        };

        /// The functions of PKCS#11 v3.2.
        pub(crate) static V3_2: CK_FUNCTION_LIST_3_2 = CK_FUNCTION_LIST_3_2 {
            version: CK_VERSION { major: 3, minor: 2 },
            $($v2_40: Some($v2_40),)*
            $($v3_0: Some($v3_0),)*
            $($v3_2: Some($v3_2),)*
        };
    };
}

lists! {
    V2_40 {
        C_Initialize
        C_Finalize
        C_GetInfo
        C_GetFunctionList
        C_GetSlotList
        C_GetSlotInfo
        C_GetTokenInfo
        C_GetMechanismList
        C_GetMechanismInfo
        C_InitToken
        C_InitPIN
        C_SetPIN
        C_OpenSession
        C_CloseSession
        C_CloseAllSessions
        C_GetSessionInfo
        C_GetOperationState
        C_SetOperationState
        C_Login
        C_Logout
        C_CreateObject
        C_CopyObject
        C_DestroyObject
        C_GetObjectSize
        C_GetAttributeValue
        C_SetAttributeValue
        C_FindObjectsInit
        C_FindObjects
        C_FindObjectsFinal
        C_EncryptInit
        C_Encrypt
        C_EncryptUpdate
        C_EncryptFinal
        C_DecryptInit
        C_Decrypt
        C_DecryptUpdate
        C_DecryptFinal
        C_DigestInit
        C_Digest
        C_DigestUpdate
        C_DigestKey
        C_DigestFinal
        C_SignInit
        C_Sign
        C_SignUpdate
        C_SignFinal
        C_SignRecoverInit
        C_SignRecover
        C_VerifyInit
        C_Verify
        C_VerifyUpdate
        C_VerifyFinal
        C_VerifyRecoverInit
        C_VerifyRecover
        C_DigestEncryptUpdate
        C_DecryptDigestUpdate
        C_SignEncryptUpdate
        C_DecryptVerifyUpdate
        C_GenerateKey
        C_GenerateKeyPair
        C_WrapKey
        C_UnwrapKey
        C_DeriveKey
        C_SeedRandom
        C_GenerateRandom
        C_GetFunctionStatus
        C_CancelFunction
        C_WaitForSlotEvent
    }
    V3_0 {
        C_GetInterfaceList
        C_GetInterface
        C_LoginUser
        C_SessionCancel
        C_MessageEncryptInit
        C_EncryptMessage
        C_EncryptMessageBegin
        C_EncryptMessageNext
        C_MessageEncryptFinal
        C_MessageDecryptInit
        C_DecryptMessage
        C_DecryptMessageBegin
        C_DecryptMessageNext
        C_MessageDecryptFinal
        C_MessageSignInit
        C_SignMessage
        C_SignMessageBegin
        C_SignMessageNext
        C_MessageSignFinal
        C_MessageVerifyInit
        C_VerifyMessage
        C_VerifyMessageBegin
        C_VerifyMessageNext
        C_MessageVerifyFinal
    }
    V3_2 {
        C_EncapsulateKey
        C_DecapsulateKey
        C_VerifySignatureInit
        C_VerifySignature
        C_VerifySignatureUpdate
        C_VerifySignatureFinal
        C_GetSessionValidationFlags
        C_AsyncComplete
        C_AsyncGetID
        C_AsyncJoin
        C_WrapKeyAuthenticated
        C_UnwrapKeyAuthenticated
    }
}
