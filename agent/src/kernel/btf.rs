//! Structure layouts and function prototypes of the running kernel, from its BTF through libbpf.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char},
    io,
    path::{Path, PathBuf},
    ptr::NonNull,
    slice,
};

use libbpf_sys as sys;
use thiserror::Error;

use crate::causes::chain;

/// Where the kernel shows its own types.
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The kernel's types could not be read.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The kernel was built without `CONFIG_DEBUG_INFO_BTF`, or its BTF is hidden from here.
    #[error("no BTF at {}: the kernel needs CONFIG_DEBUG_INFO_BTF=y and /sys must be visible", path.display())]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there, and what is in it is not accepted.
    #[error("cannot parse the BTF at {}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What libbpf, or aya, said.
        source: io::Error,
    },
}

impl BtfError {
    /// Why features are off that need BTF.
    pub fn reason(&self) -> String {
        match self {
            Self::Absent { .. } => "the kernel has no BTF".to_owned(),
            Self::Parse { .. } => format!("the kernel's BTF cannot be used: {}", chain(self)),
        }
    }
}

/// A field: where it is and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Offset from the start of the outermost structure, in bytes.
    pub(crate) offset: u32,
    /// Width in bytes.
    pub(crate) width: u32,
}

/// A parsed BTF file. Large while it lives (tens of MiB): read what is needed and drop it.
pub(crate) struct Btf {
    raw: NonNull<sys::btf>,
    /// All definitions of each structure: a name may be defined more than once.
    structures: HashMap<String, Vec<u32>>,
}

impl Btf {
    /// Whether what is at `path` can be parsed.
    pub(crate) fn check(path: &Path) -> Result<(), BtfError> {
        Self::open(path).map(drop)
    }

    /// Parses the BTF at `path`.
    pub(crate) fn parse(path: &Path) -> Result<Self, BtfError> {
        let mut btf = Self::open(path)?;
        btf.index_structures();
        Ok(btf)
    }

    fn open(path: &Path) -> Result<Self, BtfError> {
        if !path.exists() {
            return Err(BtfError::Absent {
                path: path.to_owned(),
            });
        }
        let failed = |source| BtfError::Parse {
            path: path.to_owned(),
            source,
        };
        let c_path = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|nul| failed(io::Error::new(io::ErrorKind::InvalidInput, nul)))?;
        // SAFETY: libbpf's logging callback is a plain function pointer; none switches its logging off.
        unsafe { sys::libbpf_set_print(None) };
        // SAFETY: the path is NUL-terminated and outlives the call.
        let raw = unsafe { sys::btf__parse(c_path.as_ptr(), std::ptr::null_mut()) };
        let raw = NonNull::new(raw).ok_or_else(|| failed(io::Error::last_os_error()))?;
        Ok(Self {
            raw,
            structures: HashMap::new(),
        })
    }

    /// The member at a dotted path (`__sk_common.skc_num`), unnamed unions and structures passed through.
    pub(crate) fn member(&self, structure: &str, path: &str) -> Option<Member> {
        self.structures
            .get(structure)?
            .iter()
            .find_map(|id| self.member_of(*id, path))
    }

    /// The names of an enumeration, with their values.
    pub(crate) fn enumeration(&self, name: &str) -> Vec<(String, u32)> {
        let Ok(name) = CString::new(name) else {
            return Vec::new();
        };
        // SAFETY: both pointers are valid for the call.
        let id = unsafe {
            sys::btf__find_by_name_kind(self.raw.as_ptr(), name.as_ptr(), sys::BTF_KIND_ENUM)
        };
        let found = u32::try_from(id).ok().and_then(|id| self.type_by_id(id));
        let Some(found) = found else {
            return Vec::new();
        };
        let first = std::ptr::from_ref(found)
            .wrapping_add(1)
            .cast::<sys::btf_enum>();
        // SAFETY: `vlen` values follow the type directly; libbpf checked that when it parsed the file.
        let values = unsafe { slice::from_raw_parts(first, vlen(found)) };
        let named = values.iter().filter_map(|value| {
            Some((
                self.name(value.name_off)?.to_owned(),
                value.val.cast_unsigned(),
            ))
        });
        named.collect()
    }

    /// Whether the kernel has a function.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        let Ok(name) = CString::new(name) else {
            return false;
        };
        // SAFETY: both pointers are valid for the call.
        let id = unsafe {
            sys::btf__find_by_name_kind(self.raw.as_ptr(), name.as_ptr(), sys::BTF_KIND_FUNC)
        };
        id > 0
    }

    /// The number of arguments of a tracepoint, the leading context pointer not counted.
    pub(crate) fn tracepoint_arguments(&self, tracepoint: &str) -> Option<usize> {
        let prototype = self.tracepoint_prototype(tracepoint)?;
        // SAFETY: `type_by_id` returned a function prototype, which `vlen` parameters follow.
        Some(vlen(unsafe { &*prototype }).saturating_sub(1))
    }

    /// Whether an argument of a tracepoint is a pointer.
    pub(crate) fn argument_is_pointer(&self, tracepoint: &str, argument: usize) -> Option<bool> {
        let prototype = self.tracepoint_prototype(tracepoint)?;
        // SAFETY: as above.
        let count = vlen(unsafe { &*prototype });
        // SAFETY: the parameters follow the type directly (`struct btf_param`, `include/uapi/linux/btf.h`).
        let parameters =
            unsafe { slice::from_raw_parts(prototype.add(1).cast::<sys::btf_param>(), count) };
        let parameter = parameters.get(argument + 1)?;
        Some(kind(self.resolve(parameter.type_)?.1) == sys::BTF_KIND_PTR)
    }

    fn tracepoint_prototype(&self, tracepoint: &str) -> Option<*const sys::btf_type> {
        let name = CString::new(format!("btf_trace_{tracepoint}")).ok()?;
        // SAFETY: both pointers are valid for the call.
        let id = unsafe {
            sys::btf__find_by_name_kind(self.raw.as_ptr(), name.as_ptr(), sys::BTF_KIND_TYPEDEF)
        };
        let (_, pointer) = self.resolve(u32::try_from(id).ok()?)?;
        let (_, prototype) = self.resolve(target(pointer))?;
        (kind(prototype) == sys::BTF_KIND_FUNC_PROTO).then_some(std::ptr::from_ref(prototype))
    }

    fn index_structures(&mut self) {
        // SAFETY: `raw` is valid while `self` lives.
        let count = unsafe { sys::btf__type_cnt(self.raw.as_ptr()) };
        for id in 1..count {
            let Some(name) = self
                .type_by_id(id)
                .and_then(|found| self.structure_name(found))
            else {
                continue;
            };
            if let Some(ids) = self.structures.get_mut(name) {
                ids.push(id);
            } else {
                let name = name.to_owned();
                self.structures.insert(name, vec![id]);
            }
        }
    }

    fn structure_name(&self, found: &sys::btf_type) -> Option<&'static str> {
        let is_structure = kind(found) == sys::BTF_KIND_STRUCT;
        let name = is_structure.then(|| self.name(found.name_off)).flatten()?;
        // SAFETY: the string lives in `raw`, which outlives every use of it in `index_structures`.
        let name: &'static str = unsafe { &*std::ptr::from_ref(name) };
        (!name.is_empty()).then_some(name)
    }

    fn member_of(&self, structure: u32, path: &str) -> Option<Member> {
        let (name, rest) = path
            .split_once('.')
            .map_or((path, None), |(name, rest)| (name, Some(rest)));
        let outer = self.type_by_id(structure)?;
        for member in members(outer)? {
            let offset = byte_offset(outer, member);
            let found = if self.name(member.name_off) == Some(name)
                && rest.is_none()
                && is_bit_field(outer, member)
            {
                Some(Member {
                    offset: 0,
                    width: 1,
                })
            } else if self.name(member.name_off) == Some(name) {
                match rest {
                    Some(rest) => self.member_of(self.resolve(member.type_)?.0, rest),
                    None => self
                        .size(member.type_)
                        .map(|width| Member { offset: 0, width }),
                }
            } else if self.name(member.name_off) == Some("") {
                self.member_of(self.resolve(member.type_)?.0, path)
            } else {
                continue;
            };
            if let (Some(inner), Some(offset)) = (found, offset) {
                return Some(Member {
                    offset: offset + inner.offset,
                    width: inner.width,
                });
            }
        }
        None
    }

    fn size(&self, id: u32) -> Option<u32> {
        // SAFETY: `raw` is valid while `self` lives; an unknown id is an error, not undefined.
        u32::try_from(unsafe { sys::btf__resolve_size(self.raw.as_ptr(), id) }).ok()
    }

    /// Skips typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<(u32, &sys::btf_type)> {
        // Chains are a handful long; the bound stops at a cycle in a broken file.
        for _ in 0..64 {
            let found = self.type_by_id(id)?;
            match kind(found) {
                sys::BTF_KIND_TYPEDEF
                | sys::BTF_KIND_CONST
                | sys::BTF_KIND_VOLATILE
                | sys::BTF_KIND_RESTRICT
                | sys::BTF_KIND_TYPE_TAG => id = target(found),
                _ => return Some((id, found)),
            }
        }
        None
    }

    fn type_by_id(&self, id: u32) -> Option<&sys::btf_type> {
        // SAFETY: `raw` is valid while `self` lives; libbpf returns null for an unknown id.
        unsafe { sys::btf__type_by_id(self.raw.as_ptr(), id).as_ref() }
    }

    fn name(&self, offset: u32) -> Option<&str> {
        // SAFETY: `raw` is valid while `self` lives; libbpf returns null for a bad offset.
        let name: *const c_char = unsafe { sys::btf__name_by_offset(self.raw.as_ptr(), offset) };
        if name.is_null() {
            return None;
        }
        // SAFETY: a NUL-terminated string inside `raw`.
        unsafe { CStr::from_ptr(name) }.to_str().ok()
    }
}

impl Drop for Btf {
    fn drop(&mut self) {
        // SAFETY: made by `btf__parse`, freed once.
        unsafe { sys::btf__free(self.raw.as_ptr()) }
    }
}

/// `BTF_INFO_KIND` of `include/uapi/linux/btf.h`.
fn kind(found: &sys::btf_type) -> u32 {
    (found.info >> 24) & 0x1f
}

/// `BTF_INFO_VLEN` of `include/uapi/linux/btf.h`.
fn vlen(found: &sys::btf_type) -> usize {
    (found.info & 0xffff) as usize
}

/// The type a pointer, typedef or qualifier refers to.
fn target(found: &sys::btf_type) -> u32 {
    // SAFETY: both members of the union are `u32`.
    unsafe { found.__bindgen_anon_1.type_ }
}

fn members(found: &sys::btf_type) -> Option<&[sys::btf_member]> {
    if kind(found) != sys::BTF_KIND_STRUCT && kind(found) != sys::BTF_KIND_UNION {
        return None;
    }
    let first = std::ptr::from_ref(found)
        .wrapping_add(1)
        .cast::<sys::btf_member>();
    // SAFETY: `vlen` members follow a structure type directly; libbpf checked that when it parsed the file.
    Some(unsafe { slice::from_raw_parts(first, vlen(found)) })
}

/// Offset of a member in bytes; `None` for a bit field that is not the low bits of one byte.
fn byte_offset(outer: &sys::btf_type, member: &sys::btf_member) -> Option<u32> {
    let (bits, size) = bits(outer, member);
    (size <= 8 && bits % 8 == 0).then_some(bits / 8)
}

fn is_bit_field(outer: &sys::btf_type, member: &sys::btf_member) -> bool {
    bits(outer, member).1 != 0
}

/// Offset of a member in bits, and its size in bits if it is a bit field, else 0 (`BTF_MEMBER_BITFIELD_SIZE` of
/// `include/uapi/linux/btf.h`).
fn bits(outer: &sys::btf_type, member: &sys::btf_member) -> (u32, u32) {
    let has_bit_fields = outer.info >> 31 == 1;
    if has_bit_fields {
        (member.offset & 0x00ff_ffff, member.offset >> 24)
    } else {
        (member.offset, 0)
    }
}
