//! Two ways to run the same thing: the core compiled here, and the module as it is shipped.

use scoretap_core::config::Config;
use scoretap_core::histogram::Histogram;
use scoretap_core::observe::{Call, CounterId, GaugeId, Observer, Stats};
use scoretap_core::series::{Expected, Read, SharedData, Write};

use crate::call::FakeCall;
use crate::vm::Vm;
use crate::world::World;

/// The two ways of loading the module.
pub(crate) trait Engine {
    fn start(world: &World, configuration: &str) -> Self;
    fn log(&mut self, call: &FakeCall);
}

impl Engine for Vm {
    fn start(world: &World, configuration: &str) -> Self {
        let mut vm = Self::new(world);
        vm.configure(1, configuration);
        vm
    }

    fn log(&mut self, call: &FakeCall) {
        self.log_in(1, call);
    }
}

/// The core, without a module around it.
pub(crate) struct Native {
    world: World,
    observer: Observer,
}

impl Engine for Native {
    fn start(world: &World, configuration: &str) -> Self {
        let config = Config::parse(configuration.as_bytes()).map_err(|faults| {
            let lines = faults.iter().map(|fault| format!("scoretap configuration: {fault}"));
            world.lock().log.extend(lines);
        });
        let mut observer = Observer::new(config.ok());
        let time = world.lock().time;
        observer.announce(world, time);
        Self { world: world.clone(), observer }
    }

    fn log(&mut self, call: &FakeCall) {
        self.observer.observe(call, &self.world);
    }
}

impl Call for FakeCall {
    fn request_header(&self, name: &str) -> Option<&[u8]> {
        let header = self.headers.iter().find(|(own, _)| own == name.as_bytes());
        header.map(|(_, value)| value.as_slice())
    }

    fn response_type(&self) -> Option<&[u8]> {
        self.response_type.as_deref()
    }

    fn code(&self) -> Option<u64> {
        self.read("response.code")
    }

    fn flags(&self) -> Option<u64> {
        self.read("response.flags")
    }

    fn code_details(&self) -> Option<&[u8]> {
        self.properties.get("response.code_details").map(Vec::as_slice)
    }

    fn grpc_status(&self) -> Option<u64> {
        self.read("response.grpc_status")
    }

    fn measure(&self, histogram: Histogram) -> Option<u64> {
        match histogram {
            Histogram::Duration => self.read("request.duration"),
            Histogram::BackendDuration => self.read("response.backend_latency"),
            Histogram::RequestBytes => Some(self.read("request.size")?.min(self.read("request.total_size")?)),
            Histogram::ResponseBytes => self.read("response.size"),
        }
    }
}

impl FakeCall {
    fn read(&self, path: &str) -> Option<u64> {
        Some(u64::from_le_bytes(self.properties.get(path)?.as_slice().try_into().ok()?))
    }
}

impl Stats for World {
    fn counter(&self, name: &str) -> Option<CounterId> {
        Some(CounterId(self.lock().define(name.to_owned())))
    }

    fn add(&self, counter: CounterId, amount: u64) {
        *self.lock().metric(counter.0).unwrap() += amount;
    }

    fn gauge(&self, name: &str) -> Option<GaugeId> {
        Some(GaugeId(self.lock().define(name.to_owned())))
    }

    fn set_gauge(&self, gauge: GaugeId, value: u64) {
        *self.lock().metric(gauge.0).unwrap() = value;
    }
}

impl SharedData for World {
    fn get(&self, key: &str) -> Read {
        let found = self.lock().get_shared_data(key.as_bytes());
        found.map_or(Read::Absent, |(value, version)| Read::Found { value, version })
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Write {
        let version = match expected {
            Expected::Absent => u32::MAX,
            Expected::Version(version) => version,
        };
        let is_written = self.lock().set_shared_data(key.as_bytes(), value, version);
        if is_written { Write::Done } else { Write::Conflict }
    }
}
