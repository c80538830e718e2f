//! The step after trimming a module: proves that no callback of a stream reaches code of ours that panics.
//!
//! A trap in such a callback cuts every stream in flight on the worker. The crate `no-panic` cannot check this, because
//! it sees nothing where panics abort. Here every `unreachable` counts: the compiler puts one after each call that does
//! not return, and such a call names its line of source. Lines of our crates are never accepted, and those of others
//! only as listed in [`ACCEPTED`].

mod graph;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use walrus::Module;

use graph::{Graph, Trap};

/// Callbacks that no stream runs: Envoy calls them when it loads a module or a configuration.
const NOT_OF_STREAMS: [&str; 2] = ["_initialize", "proxy_on_configure"];
/// Calls a pointer to a function that the module set when it was loaded, to create a plugin. No stream has it called.
const CREATES_PLUGINS: &str = "proxy_on_context_create";

/// A trap that others' code contains, and why no stream runs into it.
struct Accepted {
    /// The beginning of what is reported, or a part of the line's path.
    trap: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers"))]
    why: &'static str,
}

const ACCEPTED: &[Accepted] = &[
    Accepted {
        trap: "@proxy-wasm-0.2.5/src/dispatcher.rs",
        why: "Envoy names only contexts that it created and did not delete, and calls back into a VM only after the \
              running callback has returned.",
    },
    Accepted {
        trap: "alloc::alloc::handle_alloc_error",
        why: "Needs 4 GB: a stream holds kilobytes, gzip's windows and the series have limits.",
    },
    Accepted { trap: "alloc::raw_vec::handle_error", why: "As for `handle_alloc_error`." },
    Accepted {
        trap: "alloc::raw_vec::capacity_overflow",
        why: "Needs a size beyond 2 GB; see `handle_alloc_error`.",
    },
    Accepted { trap: "@hashbrown-0.16.1/src/raw/mod.rs:37", why: "As for `capacity_overflow`." },
    Accepted {
        trap: "/rust/deps/dlmalloc-0.2.11/src/dlmalloc.rs",
        why: "Asserts that the size of freed memory is the one that was allocated, which safe code cannot change.",
    },
    Accepted {
        trap: "std::thread::local::panic_access_error",
        why: "Needs a thread that ends. This target has no threads.",
    },
    Accepted {
        trap: "library/std/src/sys/thread_local/no_threads.rs",
        why: "Needs an initial value that reads its own variable. Ours read none.",
    },
    Accepted {
        trap: "library/core/src/cell/once.rs",
        why: "Needs an initial value that fills its own cell. Ours ask the host alone.",
    },
    Accepted {
        trap: "library/core/src/fmt/mod.rs",
        why: "Needs a cut within a character. The standard library cuts where it found one.",
    },
    Accepted {
        trap: "library/core/src/unicode/printable.rs",
        why: "Needs a character that the standard library's own table does not have.",
    },
    Accepted {
        trap: "library/core/src/num/dec2flt/",
        why: "Needs more digits than the standard library has room for. It drops the rest.",
    },
    Accepted {
        trap: "@miniz_oxide-0.9.1/src/inflate/",
        why: "Needs a position outside its window, which it keeps within by a mask. Fuzzed with broken gzip.",
    },
    Accepted {
        trap: "core::slice::copy_from_slice_impl::len_mismatch_fail at scoretap_scan::gzip::inflate",
        why: "Belongs to `miniz_oxide`, as the function holds no other code. Both slices have a table's length.",
    },
    Accepted {
        trap: "library/core/src/slice/index.rs:1016",
        why: "Belongs to `miniz_oxide`, whose ranges end within its window and not at the largest number.",
    },
    Accepted {
        trap: "unreachable at alloc::rc::Rc",
        why: "Needs more than four billion references. Each stream in flight has one.",
    },
    Accepted {
        trap: "unreachable at <scoretap_filter::plugin::Plugin as proxy_wasm::traits::RootContext>::create_http_context",
        why: "As for `Rc`, whose code is part of this function.",
    },
    Accepted {
        trap: "unreachable at <scoretap_insight::plugin::Plugin as proxy_wasm::traits::RootContext>::create_http_context",
        why: "As for `Rc`, whose code is part of this function.",
    },
];

/// Fails if a callback of a stream can trap in a way that is not accepted.
pub(super) fn check(module: &Module) -> Result<()> {
    let graph = Graph::new(module)?;
    let callbacks: Vec<_> = module
        .exports
        .iter()
        .filter_map(|export| match export.item {
            walrus::ExportItem::Function(function) => Some((export.name.as_str(), function)),
            _ => None,
        })
        .filter(|(name, _)| !NOT_OF_STREAMS.contains(name))
        .map(|(_, function)| function)
        .collect();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for trap in graph.traps(&callbacks, CREATES_PLUGINS) {
        if !is_accepted(&trap) {
            found.entry(trap.to_string()).or_insert_with(|| trap.path.join("\n      called by "));
        }
    }
    let list: Vec<_> = found.iter().map(|(trap, path)| format!("  {trap}\n      in {path}")).collect();
    ensure!(list.is_empty(), "a stream can trap the VM:\n{}", list.join("\n"));
    Ok(())
}

fn is_accepted(trap: &Trap) -> bool {
    let reported = trap.to_string();
    ACCEPTED.iter().any(|accepted| match accepted.trap.strip_prefix('@') {
        Some(file) => trap.line.contains(&format!("/{file}")),
        None => reported.starts_with(accepted.trap) || trap.line.contains(accepted.trap),
    })
}

#[cfg(test)]
mod tests {
    use walrus::ModuleConfig;

    use super::*;

    /// `$panic` does not return. At 64 is a vtable of `$method`, and at 128 the location "/scoretap/a.rs":7.
    fn module(callback: &str) -> Module {
        let text = format!(
            r#"(module
            (type $method (func (param i32)))
            (type $pointer (func (param i64)))
            (table 4 4 funcref)
            (memory 1)
            (elem (i32.const 1) $method $pointee)
            (data (i32.const 64) "\00\00\00\00\04\00\00\00\04\00\00\00\01\00\00\00")
            (data (i32.const 128) "\90\00\00\00\0e\00\00\00\07\00\00\00\00\00\00\00/scoretap/a.rs")
            (func $panic (param i32))
            (func $method (param i32) (call $panic (i32.const 128)) unreachable)
            (func $pointee (param i64) (call $panic (i32.const 128)) unreachable)
            (func (export "proxy_on_configure") (call $panic (i32.const 128)) unreachable)
            (func (export "proxy_on_log") (param i32) {callback}))"#
        );
        ModuleConfig::new().parse(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[track_caller]
    fn found(callback: &str) -> String {
        check(&module(callback)).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn panic_is_reported_with_its_line() {
        let reported = found("(call $panic (i32.const 128)) unreachable");
        assert!(reported.contains("panic at /scoretap/a.rs:7"), "{reported}");
    }

    #[test]
    fn trap_without_call_is_reported() {
        assert!(found("(if (local.get 0) (then unreachable))").contains("unreachable at"));
    }

    #[test]
    fn method_of_a_vtable_is_followed() {
        let call = "(call_indirect (type $method) (local.get 0) (i32.load offset=12 (local.get 0)))";
        assert!(found(call).contains("a.rs:7"));
        // No vtable has a method there, and no code has the function's address.
        assert_eq!(found(&call.replace("12", "16")), "");
    }

    #[test]
    fn pointer_to_a_function_is_followed() {
        let call = "(call_indirect (type $pointer) (i64.const 0) (local.get 0))";
        assert_eq!(found(call), "");
        assert!(found(&format!("(local.set 0 (i32.const 2)) {call}")).contains("a.rs:7"));
    }

    #[test]
    fn configuration_may_trap() {
        assert_eq!(found(""), "");
    }

    #[test]
    fn impossible_case_of_a_match_is_no_trap() {
        let choice =
            "(block $other (block $first (br_table $first $other (local.get 0))) return) unreachable";
        assert_eq!(found(choice), "");
        assert!(
            found(&choice.replace("return", "(br_if $other (local.get 0)) return"))
                .contains("unreachable at")
        );
    }

    #[test]
    fn lines_of_ours_are_never_accepted() {
        for accepted in ACCEPTED {
            assert!(!accepted.why.is_empty() && !accepted.trap.contains("filter/"), "{}", accepted.trap);
        }
    }
}
