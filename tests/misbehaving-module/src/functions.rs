//! The functions of PKCS#11 v2.40, by name, and how far each one reaches.

/// How far a call goes, by what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The library itself; no token.
    Library,
    /// A slot, and mostly the token in it.
    Slot,
    /// A session with a token.
    Session,
}

macro_rules! functions {
    ($($reach:ident: $($name:ident)*;)*) => {
        /// A function that can be told to misbehave: all of them but C_GetFunctionList.
        #[allow(
            non_camel_case_types,
            clippy::enum_variant_names,
            reason = "the names of the standard"
        )]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function {
            $($($name,)*)*
        }

        impl Function {
            pub(crate) const ALL: &[Self] = &[$($(Self::$name,)*)*];

            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($name),)*)*
                }
            }

            pub(crate) const fn reach(self) -> Reach {
                match self {
                    $($(Self::$name)|* => Reach::$reach,)*
                }
            }
        }
    };
}

functions! {
    Library: C_Initialize C_Finalize C_GetInfo;
    Slot: C_GetSlotList C_GetSlotInfo C_GetTokenInfo C_GetMechanismList C_GetMechanismInfo C_InitToken C_OpenSession
        C_CloseAllSessions C_WaitForSlotEvent;
    Session: C_CloseSession C_GetSessionInfo C_InitPIN C_SetPIN C_Login C_Logout C_GetOperationState
        C_SetOperationState C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue
        C_SetAttributeValue C_FindObjectsInit C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate
        C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate
        C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit C_SignRecover
        C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate
        C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey
        C_UnwrapKey C_DeriveKey C_SeedRandom C_GenerateRandom C_GetFunctionStatus C_CancelFunction;
}

impl Function {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|function| function.name() == name)
    }

    pub(crate) fn reaches_token(self) -> bool {
        self.reach() != Reach::Library
    }
}
