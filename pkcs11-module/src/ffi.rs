//! The border to C: the only place with pointers, and with `unsafe`.

pub(crate) mod application_lock;
pub(crate) mod buffer;
pub(crate) mod function_list;
pub(crate) mod functions;
pub(crate) mod functions_v3;
pub(crate) mod interface;
pub(crate) mod process;
pub(crate) mod template;

use std::panic::{self, AssertUnwindSafe};

use cryptoki_sys::{CK_RV, CKR_OK};

use crate::error::Error;

/// Runs a function's body and turns its outcome into the standard's code. A panic would be undefined behaviour in C;
/// it is answered as a general error.
fn guard(body: impl FnOnce() -> Result<(), Error>) -> CK_RV {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(error)) => error.code(),
        Err(_) => Error::General.code(),
    }
}

/// Pairs functions of the standard with plain functions of [`crate::api`], which get the initialised module and then
/// the arguments, checked and made safe:
///
/// - `name: Type` is passed as it is, and `_: Type` not at all;
/// - `In(pointer, count: T)`, `Out(pointer, count: T)`, `Fill(pointer, count: T)` and `Put(pointer: T)` become the
///   [`buffer`] types of these names;
/// - `Template(…)`, `Blanks(…)` and `Mechanism(…)` become the [`template`] types of these names. With a
///   session and a flag, a mechanism that is null cancels the session's operation of that flag (PKCS#11 v3.2 §5.8).
macro_rules! entry {
    ($($(#[$doc:meta])* $name:ident = $function:path { $($arguments:tt)* })*) => {
        $(entry!(@ [$(#[$doc])* $name $function] [] [] $($arguments)*,);)*
    };
    (@ [$(#[$doc:meta])* $name:ident $function:path] [$($parameters:tt)*] [$($values:tt)*] $(,)?) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The pointers are as the standard wants them.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($parameters)*) -> cryptoki_sys::CK_RV {
            $crate::ffi::guard(|| {
                let module = $crate::ffi::process::module()?;
                let _turn = module.turn()?;
                $function(&module, $($values)*)
            })
        }
    };
    (@ $head:tt [$($parameters:tt)*] $values:tt _: $type:ty, $($rest:tt)*) => {
        entry!(@ $head [$($parameters)* _: $type,] $values $($rest)*);
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] $name:ident: $type:ty, $($rest:tt)*) => {
        entry!(@ $head [$($parameters)* $name: $type,] [$($values)* $name,] $($rest)*);
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] Put($place:ident: $type:ty), $($rest:tt)*) => {
        entry!(
            @ $head
            [$($parameters)* $place: *mut $type,]
            // SAFETY: the standard wants of the application what the constructor wants.
            [$($values)* unsafe { $crate::ffi::buffer::Put::new($place) }?,]
            $($rest)*
        );
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] Out($items:ident, $count:ident: $type:ty), $($rest:tt)*) => {
        entry!(
            @ $head
            [$($parameters)* $items: *mut $type, $count: *mut cryptoki_sys::CK_ULONG,]
            // SAFETY: the standard wants of the application what the constructor wants.
            [$($values)* unsafe { $crate::ffi::buffer::Out::new($items, $count) }?,]
            $($rest)*
        );
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] In($items:ident, $count:ident: $type:ty), $($rest:tt)*) => {
        entry!(
            @ $head
            [$($parameters)* $items: *mut $type, $count: cryptoki_sys::CK_ULONG,]
            // SAFETY: the standard wants of the application what the constructor wants.
            [$($values)* unsafe { $crate::ffi::buffer::In::new($items, $count) }?,]
            $($rest)*
        );
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] Fill($items:ident, $count:ident: $type:ty), $($rest:tt)*) => {
        entry!(
            @ $head
            [$($parameters)* $items: *mut $type, $count: cryptoki_sys::CK_ULONG,]
            // SAFETY: the standard wants of the application what the constructor wants.
            [$($values)* unsafe { $crate::ffi::buffer::Fill::new($items, $count) }?,]
            $($rest)*
        );
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] Template($items:ident, $count:ident), $($rest:tt)*) => {
        entry!(
            @ $head
            [$($parameters)* $items: *mut cryptoki_sys::CK_ATTRIBUTE, $count: cryptoki_sys::CK_ULONG,]
            // SAFETY: the standard wants of the application what the constructor wants.
            [$($values)* unsafe { $crate::ffi::template::Template::new($items, $count) }?,]
            $($rest)*
        );
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] Blanks($items:ident, $count:ident), $($rest:tt)*) => {
        entry!(
            @ $head
            [$($parameters)* $items: *mut cryptoki_sys::CK_ATTRIBUTE, $count: cryptoki_sys::CK_ULONG,]
            // SAFETY: the standard wants of the application what the constructor wants.
            [$($values)* unsafe { $crate::ffi::template::Blanks::new($items, $count) }?,]
            $($rest)*
        );
    };
    (@ $head:tt [$($parameters:tt)*] [$($values:tt)*] Mechanism($mechanism:ident), $($rest:tt)*) => {
        entry!(
            @ $head
            [$($parameters)* $mechanism: *mut cryptoki_sys::CK_MECHANISM,]
            // SAFETY: the standard wants of the application what the constructor wants.
            [$($values)* unsafe { $crate::ffi::template::Mechanism::new($mechanism) }?,]
            $($rest)*
        );
    };
    (
        @ $head:tt [$($parameters:tt)*] [$($values:tt)*]
        Mechanism($mechanism:ident, $session:ident, $flag:ident), $($rest:tt)*
    ) => {
        entry!(
            @ $head
            [$($parameters)* $mechanism: *mut cryptoki_sys::CK_MECHANISM,]
            [$($values)* {
                if $mechanism.is_null() {
                    return $crate::api::session::cancel_by_init(
                        &*$crate::ffi::process::module()?,
                        $session,
                        cryptoki_sys::$flag,
                    );
                }
                // SAFETY: the standard wants of the application what the constructor wants.
                unsafe { $crate::ffi::template::Mechanism::new($mechanism) }?
            },]
            $($rest)*
        );
    };
}
pub(crate) use entry;
