//! The programs of an object while they are attached, which threads may do that share them.

use std::{
    collections::HashMap,
    io,
    os::fd::AsFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, ProgramArray},
    programs::Program as Loaded,
};

use super::{
    ProbeError,
    hooks::Place,
    load::{failed_map, missing_map},
};

/// The programs, each for whoever needs it first.
pub(super) struct Programs<'a> {
    programs: HashMap<&'a str, Mutex<&'a mut Loaded>>,
    /// Where programs find those that they jump to.
    places: HashMap<&'static str, Mutex<ProgramArray<MapData>>>,
}

impl<'a> Programs<'a> {
    /// Those of an object. Its maps stay with it: when nobody holds them any more, the places in them are emptied.
    ///
    /// # Errors
    /// When a map of programs cannot be opened once more.
    pub(super) fn of(ebpf: &'a mut Ebpf) -> Result<Self, ProbeError> {
        let mut places = HashMap::new();
        for name in ["KPROBES", "FEXITS"] {
            let Some(Map::ProgramArray(map)) = ebpf.map(name) else { return Err(missing_map(name)) };
            let again = map.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError).and_then(MapData::from_fd);
            let again = again.and_then(|map| ProgramArray::try_from(Map::ProgramArray(map)));
            places.insert(name, Mutex::new(again.map_err(|error| failed_map(name, error))?));
        }
        let programs = ebpf.programs_mut().map(|(name, program)| (name, Mutex::new(program))).collect();
        Ok(Self { programs, places })
    }

    /// Does something with a program, when nobody else does; `None` when it is not in the object.
    pub(super) fn with<T>(&self, name: &str, then: impl FnOnce(&mut Loaded) -> T) -> Option<T> {
        self.programs.get(name).map(|program| then(&mut lock(program)))
    }

    /// As [`Self::with`], unless somebody is about to do something with it.
    pub(super) fn with_unused<T>(&self, name: &str, then: impl FnOnce(&mut Loaded) -> T) -> Option<T> {
        self.programs.get(name)?.try_lock().ok().map(|mut program| then(&mut program))
    }

    /// Puts a loaded program in its place.
    ///
    /// # Errors
    /// When one of both does not exist, and what the kernel says: not every kernel lets every program be jumped to.
    pub(super) fn put(&self, name: &str, place: Place) -> Result<(), MapError> {
        let missing = |what: &str| MapError::IoError(io::Error::other(what.to_owned()));
        let fd = self.with(name, |program| program.fd().and_then(|fd| Ok(fd.try_clone()?)));
        let fd = fd.ok_or_else(|| missing("it is not in the object"))?;
        let fd = fd.map_err(|error| MapError::IoError(io::Error::other(error)))?;
        let places = self.places.get(place.map).ok_or_else(|| missing("it has no map"))?;
        lock(places).set(place.index, &fd, 0)
    }
}

/// What a thread that panicked leaves behind is a program that is loaded or not: that is asked anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
