//! The packaged module in wasmtime, with the host functions of the proxy-wasm ABI on a [`World`].

use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use scoretap_tests::workspace::{self, TestModule};
use wasmtime::{Caller, Config, Engine, Extern, Instance, Linker, Memory, Module, Store, Val};

use crate::call::FakeCall;
use crate::world::World;

/// One VM, as each worker of Envoy has one.
pub(crate) struct Vm {
    store: Store<Host>,
    instance: Instance,
    /// The contexts that were created and not deleted.
    contexts: HashSet<u32>,
}

/// The state that the host functions see.
pub(crate) struct Host {
    pub(crate) world: World,
    call: FakeCall,
    configuration: Vec<u8>,
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const INVALID_MEMORY_ACCESS: u32 = 6;
const CAS_MISMATCH: u32 = 8;

/// Compiled once for all tests of the process.
fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| compiled(&workspace::module()))
}

fn compiled(path: &Path) -> Module {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let bytes = std::fs::read(path).unwrap_or_else(|error| {
        panic!("{}: {error}; run `cargo xtask package --test-modules` first", path.display())
    });
    Module::new(&engine, bytes).unwrap()
}

impl Vm {
    pub(crate) fn new(world: &World) -> Self {
        Self::of(module(), world)
    }

    /// A module that tells what it allocates.
    pub(crate) fn counting_allocations(world: &World) -> Self {
        static MODULE: OnceLock<Module> = OnceLock::new();
        Self::of(MODULE.get_or_init(|| compiled(&TestModule::Allocations.path())), world)
    }

    fn of(module: &Module, world: &World) -> Self {
        let engine = module.engine();
        let host = Host { world: world.clone(), call: FakeCall::default(), configuration: Vec::new() };
        let mut store = Store::new(engine, host);
        store.set_fuel(u64::MAX).unwrap();
        let mut linker = linker(engine);
        // The `proxy-wasm` crate imports more, which this module must never call.
        linker.define_unknown_imports_as_traps(module).unwrap();
        let instance = linker.instantiate(&mut store, module).unwrap();
        let mut vm = Self { store, instance, contexts: HashSet::new() };
        vm.call("_initialize", &[]);
        vm
    }

    /// Configures a plugin, which is a context of the VM, created if it is new.
    pub(crate) fn configure(&mut self, root_context: u32, configuration: &str) {
        if !self.contexts.contains(&root_context) {
            self.create(root_context, 0);
        }
        self.store.data_mut().configuration = configuration.as_bytes().to_vec();
        let accepted =
            self.call("proxy_on_configure", &[root_context, u32::try_from(configuration.len()).unwrap()]);
        assert_eq!(accepted, Some(1), "a plugin that rejects its configuration stops traffic");
    }

    /// Reports a call in a context: as an access logger in the plugin's, as a filter in the stream's own.
    pub(crate) fn log_in(&mut self, context: u32, call: &FakeCall) {
        self.store.data_mut().call = call.clone();
        self.log_again(context);
    }

    /// Reports the same call again.
    pub(crate) fn log_again(&mut self, context: u32) {
        self.call("proxy_on_log", &[context]);
    }

    /// Creates a stream of a plugin, or with 0 a plugin.
    pub(crate) fn create(&mut self, context: u32, root_context: u32) {
        assert!(self.contexts.insert(context), "Envoy does not reuse the id of a live context");
        self.call("proxy_on_context_create", &[context, root_context]);
    }

    /// Deletes a stream, or a plugin.
    pub(crate) fn delete(&mut self, context: u32) {
        assert!(self.contexts.remove(&context), "Envoy deletes a context once");
        self.call("proxy_on_delete", &[context]);
    }

    pub(crate) fn memory_bytes(&mut self) -> usize {
        self.instance.get_memory(&mut self.store, "memory").unwrap().data_size(&self.store)
    }

    /// How often the module has allocated so far.
    pub(crate) fn allocations(&mut self) -> i32 {
        self.call("scoretap_allocations", &[]).unwrap()
    }

    /// The number of WebAssembly instructions that `act` takes.
    pub(crate) fn fuel_of(&mut self, act: impl FnOnce(&mut Self)) -> u64 {
        let before = self.store.get_fuel().unwrap();
        act(self);
        before - self.store.get_fuel().unwrap()
    }

    pub(crate) fn exports() -> Vec<String> {
        module().exports().map(|export| export.name().to_owned()).collect()
    }

    /// A trap is a failure of the test: the module must have none.
    fn call(&mut self, name: &str, arguments: &[u32]) -> Option<i32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let arguments: Vec<Val> = arguments.iter().map(|number| Val::I32(number.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let called = function.call(&mut self.store, &arguments, &mut results);
        called.unwrap_or_else(|trap| panic!("{name} trapped: {trap:?}"));
        results.first().and_then(Val::i32)
    }
}

type From<'a> = Caller<'a, Host>;

/// Counts the call of a host function, and fails it where the test says so.
fn enter(caller: &From<'_>, function: &'static str) -> Result<(), u32> {
    let mut state = caller.data().world.lock();
    *state.calls.entry(function).or_default() += 1;
    state.failing.get(function).map_or(Ok(()), |status| Err(*status))
}

fn memory(caller: &mut From<'_>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).unwrap()
}

fn read(caller: &mut From<'_>, start: u32, size: u32) -> Result<Vec<u8>, u32> {
    let memory = memory(caller);
    let (start, size) = (usize::try_from(start).unwrap(), usize::try_from(size).unwrap());
    memory.data(caller).get(start..start + size).map(<[u8]>::to_vec).ok_or(INVALID_MEMORY_ACCESS)
}

fn write(caller: &mut From<'_>, at: u32, bytes: &[u8]) -> Result<(), u32> {
    let memory = memory(caller);
    memory.write(caller, usize::try_from(at).unwrap(), bytes).map_err(|_| INVALID_MEMORY_ACCESS)
}

/// Returns bytes as Envoy does: into memory that the module allocates, then a pointer and a size.
fn hand_over(caller: &mut From<'_>, bytes: &[u8], at: u32, size_at: u32) -> Result<(), u32> {
    let size = u32::try_from(bytes.len()).unwrap();
    let start = if bytes.is_empty() { 0 } else { allocate(caller, size)? };
    write(caller, start, bytes)?;
    write(caller, at, &start.to_le_bytes())?;
    write(caller, size_at, &size.to_le_bytes())
}

fn allocate(caller: &mut From<'_>, size: u32) -> Result<u32, u32> {
    let allocate = caller.get_export("malloc").and_then(Extern::into_func).unwrap();
    let allocate = allocate.typed::<u32, u32>(&mut *caller).unwrap();
    let start =
        allocate.call(&mut *caller, size).unwrap_or_else(|trap| panic!("allocation trapped: {trap:?}"));
    if start == 0 { Err(INVALID_MEMORY_ACCESS) } else { Ok(start) }
}

fn status(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(OK)
}

fn linker(engine: &Engine) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    define_calls(&mut linker);
    define_metrics(&mut linker);
    define_shared_data(&mut linker);
    linker
}

fn define_calls(linker: &mut Linker<Host>) {
    linker
        .func_wrap("env", "proxy_log", |mut caller: From<'_>, _level: u32, text: u32, size: u32| {
            status((|| {
                enter(&caller, "proxy_log")?;
                let line = read(&mut caller, text, size)?;
                caller.data().world.lock().log.push(String::from_utf8(line).unwrap());
                Ok(())
            })())
        })
        .unwrap()
        .func_wrap("env", "proxy_get_current_time_nanoseconds", |mut caller: From<'_>, at: u32| {
            status((|| {
                enter(&caller, "proxy_get_current_time_nanoseconds")?;
                let time = caller.data().world.lock().time;
                write(&mut caller, at, &time.to_le_bytes())
            })())
        })
        .unwrap()
        .func_wrap(
            "env",
            "proxy_get_property",
            |mut caller: From<'_>, path: u32, path_size: u32, at: u32, size_at: u32| {
                status((|| {
                    enter(&caller, "proxy_get_property")?;
                    let path = read(&mut caller, path, path_size)?;
                    let path = String::from_utf8(path).unwrap().replace('\0', ".");
                    let host = caller.data();
                    let value = host.call.properties.get(path.as_str()).cloned();
                    hand_over(&mut caller, &value.ok_or(NOT_FOUND)?, at, size_at)
                })())
            },
        )
        .unwrap()
        .func_wrap(
            "env",
            "proxy_get_header_map_value",
            |mut caller: From<'_>, map: u32, name: u32, name_size: u32, at: u32, size_at: u32| {
                status((|| {
                    enter(&caller, "proxy_get_header_map_value")?;
                    let name = read(&mut caller, name, name_size)?;
                    let call = &caller.data().call;
                    let value = match map {
                        0 => {
                            call.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone())
                        }
                        2 if name == b"content-type" => call.response_type.clone(),
                        _ => panic!("header {name:?} of map {map} is of no interest"),
                    };
                    hand_over(&mut caller, &value.ok_or(NOT_FOUND)?, at, size_at)
                })())
            },
        )
        .unwrap()
        .func_wrap(
            "env",
            "proxy_get_buffer_bytes",
            |mut caller: From<'_>, buffer: u32, start: u32, length: u32, at: u32, size_at: u32| {
                status((|| {
                    assert_eq!((buffer, start), (7, 0), "only the plugin's configuration is of interest");
                    enter(&caller, "proxy_get_buffer_bytes")?;
                    let mut bytes = caller.data().configuration.clone();
                    bytes.truncate(usize::try_from(length).unwrap());
                    hand_over(&mut caller, &bytes, at, size_at)
                })())
            },
        )
        .unwrap();
}

fn define_metrics(linker: &mut Linker<Host>) {
    linker
        .func_wrap(
            "env",
            "proxy_define_metric",
            |mut caller: From<'_>, _kind: u32, name: u32, size: u32, at: u32| {
                status((|| {
                    enter(&caller, "proxy_define_metric")?;
                    let name = String::from_utf8(read(&mut caller, name, size)?).unwrap();
                    let id = caller.data().world.lock().define(name);
                    write(&mut caller, at, &id.to_le_bytes())
                })())
            },
        )
        .unwrap()
        .func_wrap("env", "proxy_increment_metric", |caller: From<'_>, id: u32, amount: i64| {
            status((|| {
                enter(&caller, "proxy_increment_metric")?;
                let amount = u64::try_from(amount).expect("a counter never falls");
                *caller.data().world.lock().metric(id).ok_or(NOT_FOUND)? += amount;
                Ok(())
            })())
        })
        .unwrap()
        .func_wrap("env", "proxy_record_metric", |caller: From<'_>, id: u32, value: u64| {
            status((|| {
                enter(&caller, "proxy_record_metric")?;
                *caller.data().world.lock().metric(id).ok_or(NOT_FOUND)? = value;
                Ok(())
            })())
        })
        .unwrap();
}

fn define_shared_data(linker: &mut Linker<Host>) {
    linker
        .func_wrap(
            "env",
            "proxy_get_shared_data",
            |mut caller: From<'_>, key: u32, key_size: u32, at: u32, size_at: u32, version_at: u32| {
                status((|| {
                    enter(&caller, "proxy_get_shared_data")?;
                    let key = read(&mut caller, key, key_size)?;
                    let shared = caller.data().world.lock().get_shared_data(&key);
                    let (value, version) = shared.ok_or(NOT_FOUND)?;
                    hand_over(&mut caller, &value, at, size_at)?;
                    write(&mut caller, version_at, &version.to_le_bytes())
                })())
            },
        )
        .unwrap()
        .func_wrap(
            "env",
            "proxy_set_shared_data",
            |mut caller: From<'_>, key: u32, key_size: u32, value: u32, value_size: u32, version: u32| {
                status((|| {
                    enter(&caller, "proxy_set_shared_data")?;
                    let key = read(&mut caller, key, key_size)?;
                    let value = read(&mut caller, value, value_size)?;
                    let is_written = caller.data().world.lock().set_shared_data(&key, &value, version);
                    if is_written { Ok(()) } else { Err(CAS_MISMATCH) }
                })())
            },
        )
        .unwrap();
}
