//! The subjects of a policy: each loaded module, and each request that loaded nothing.

use super::{
    field::{Field, FieldValues, Fields},
    load::{INITIAL, OTHER},
    value::FieldValue,
};
use crate::{
    chain::{Cause, Chain, ChainKey, Module},
    event::{Ancestor, Load, Origin, Process, Status, Text},
    select,
};

/// Inode of the initial user namespace: `PROC_USER_INIT_INO`, include/linux/proc_ns.h.
const FIRST_USER_NAMESPACE: u32 = 0xefff_fffd;

/// A loaded module, or a request that loaded nothing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Subject<'a> {
    /// Its chain.
    pub root: &'a Chain,
    /// The request or loader.
    pub link: &'a Chain,
    /// The module; absent for a request that loaded nothing.
    pub module: Option<&'a Module>,
}

impl<'a> Subject<'a> {
    /// Passes on all subjects of a chain, including nested ones.
    pub fn for_each(root: &'a Chain, take: &mut dyn FnMut(Self)) {
        Self::walk(root, root, take);
    }

    fn walk(root: &'a Chain, link: &'a Chain, take: &mut dyn FnMut(Self)) {
        for module in &link.modules {
            take(Self { root, link, module: Some(module) });
        }
        if link.modules.is_empty() && matches!(link.key, ChainKey::Request(_)) {
            take(Self { root, link, module: None });
        }
        for nested in &link.nested {
            Self::walk(root, nested, take);
        }
    }

    /// The outcome: of a module by its init, of a request by its result.
    #[must_use]
    pub fn status(&self) -> Status {
        let result = self.link.result.as_ref().map_or(Status::Unknown, |result| result.status);
        match self.module.map(|module| module.init.as_ref()) {
            Some(Some(init)) if init.ret < 0 => Status::Failed,
            Some(Some(_)) => Status::Loaded,
            // The end of its init was not seen, and the result of the request may be that of another module.
            Some(None) => Status::Unknown,
            None => result,
        }
    }

    /// The origin of the load.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match (self.module, self.link.key) {
            (Some(module), _) => module.load.origin,
            (None, ChainKey::Request(_)) => Origin::Request,
            (None, ChainKey::Loader(_)) => Origin::Unknown,
        }
    }

    /// For an explicit load: the load with the process.
    fn own_load(&self) -> Option<&'a Load> {
        let is_root = self.root.request.is_none() && self.root.key == self.link.key;
        self.module.filter(|_| is_root).map(|module| self.root.load_behind(module))
    }

    /// The process to which it is attributed.
    #[must_use]
    pub fn cause(&self) -> Cause<'a> {
        self.own_load().map_or_else(|| Cause::of(self.root), Cause::of_load)
    }

    /// The requester or loader; for nested subjects that of the root.
    #[must_use]
    pub fn process(&self) -> Option<&'a Process> {
        self.process_and_ancestors().map(|(process, _)| process)
    }

    /// The requester with its ancestors, nearest first.
    pub(super) fn process_and_ancestors(&self) -> Option<(&'a Process, &'a [Ancestor])> {
        let asked = self.root.request.as_ref().map(|request| (&request.process, request.ancestors.as_slice()));
        let load = self.own_load().or_else(|| self.root.modules.first().map(|module| &module.load));
        asked.or_else(|| load.map(|load| (&load.process, load.ancestors.as_slice())))
    }

    /// The values of these fields, which rules are compared with.
    pub(super) fn field_values(&self, wanted: Fields) -> FieldValues {
        let cause = self.cause();
        // The helper of the kernel is not the requester.
        let process = self.process().filter(|_| !cause.is_unknown());
        // Of the creator of a kernel thread, only the name is known.
        let own = process.filter(|_| !matches!(cause, Cause::Through { .. }));
        let of = |process: Option<&Process>, field| process.map_or_else(FieldValue::unseen, |_| self.value(field));
        // The process that started a kmod tool may have another user, of which only the number is known.
        let other_uid = match cause {
            Cause::Ran { by, tool } if by.uid != tool.uid => Some(by.uid),
            _ => None,
        };
        let uid = || {
            let uids = own.into_iter().flat_map(|own| [Some(own.uid), other_uid]).flatten();
            FieldValue::of(uids.map(|uid| Text::from(uid.to_string()).into()).collect(), own.is_none())
        };
        let user = || {
            let user = own.and_then(|own| own.user.clone()).filter(|user| !user.is_empty());
            let is_open = user.is_none() || other_uid.is_some();
            FieldValue::of(user.into_iter().map(Into::into).collect(), is_open)
        };
        let module = || {
            self.module.map_or_else(FieldValue::default, |module| FieldValue::seen(Some(module.load.module.clone())))
        };
        let result = || known_name(self.status().name(), self.status() != Status::Unknown);
        let origin = || known_name(self.origin().name(), self.origin() != Origin::Unknown);
        FieldValues::default()
            .with_wanted(wanted, Field::Module, module)
            .with_wanted(wanted, Field::Alias, || self.value(select::Field::Alias))
            .with_wanted(wanted, Field::Family, || self.value(select::Field::Family))
            .with_wanted(wanted, Field::Result, result)
            .with_wanted(wanted, Field::Origin, origin)
            .with_wanted(wanted, Field::Uid, uid)
            .with_wanted(wanted, Field::User, user)
            .with_wanted(wanted, Field::Login, || of(own, select::Field::Login))
            .with_wanted(wanted, Field::Exe, || of(own, select::Field::Exe))
            .with_wanted(wanted, Field::Comm, || of(process, select::Field::Comm))
            .with_wanted(wanted, Field::Cgroup, || of(own, select::Field::Cgroup))
            .with_wanted(wanted, Field::Unit, || of(own, select::Field::Unit))
            .with_wanted(wanted, Field::Container, || of(own, select::Field::Container))
            .with_wanted(wanted, Field::UserNamespace, || FieldValue::seen(own.and_then(user_namespace)))
    }

    /// The value of a field in the selection engine.
    fn value(&self, field: select::Field) -> FieldValue {
        let Self { root, link, module } = *self;
        let subject = match module {
            Some(module) => select::Subject::Module { root, link, module },
            None => select::Subject::Link { root, link },
        };
        let mut known = Vec::new();
        let is_open = subject.values(field, &mut |seen| known.push(seen.into()));
        FieldValue::of(known, is_open)
    }
}

fn known_name(name: &str, is_known: bool) -> FieldValue {
    FieldValue::seen(is_known.then_some(name))
}

fn user_namespace(process: &Process) -> Option<&'static str> {
    match process.ns.user {
        0 => None,
        FIRST_USER_NAMESPACE => Some(INITIAL),
        _ => Some(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_USER_NAMESPACE, Field, FieldValue, Fields, Status, Subject};
    use crate::{
        chain::{Chain, Item, samples},
        event::Text,
    };

    fn chain(item: Item) -> Chain {
        match item {
            Item::Chain(chain) => *chain,
            Item::Event(_) => unreachable!("it is a chain"),
        }
    }

    /// Dependencies, nested loads and requests without a module are separate subjects, attributed to the root's requester.
    #[test]
    fn subject_of_each_load_is_judged_once() {
        let nested = chain(samples::nested());
        let mut seen = Vec::new();
        Subject::for_each(&nested, &mut |subject| {
            let module = subject.module.map_or("-".to_owned(), |module| module.load.module.field());
            let comm = subject.field_values(Fields::ALL).get(Field::Comm).clone();
            seen.push((module, subject.status()));
            assert_eq!(comm, FieldValue::is("cryptsetup"));
        });
        let wanted = [
            ("dm_crypt", Status::Loaded),
            ("dm_broken", Status::Failed),
            ("aesni_intel", Status::Loaded),
            ("-", Status::NotFound),
        ];
        assert_eq!(seen, wanted.map(|(module, status)| (module.to_owned(), status)));
    }

    /// An unseen value is undetermined, and an impossible one is absent.
    #[test]
    fn unseen_value_differs_from_an_absent_one() {
        let mut outage = chain(samples::outage());
        let field_values = |chain: &Chain| {
            Subject { root: chain, link: chain, module: chain.modules.first() }.field_values(Fields::ALL)
        };
        let open = FieldValue::unseen();
        assert_eq!(field_values(&outage).get(Field::UserNamespace), &open);
        assert_eq!(field_values(&outage).get(Field::Unit), &open);
        let process = &mut outage.request.as_mut().unwrap().process;
        process.cgroup = Some(Text::from("/user.slice"));
        process.ns.user = FIRST_USER_NAMESPACE;
        assert_eq!(field_values(&outage).get(Field::UserNamespace), &FieldValue::is("initial"));
        assert_eq!(field_values(&outage).get(Field::Unit), &FieldValue::default());
        outage.request = None;
        assert_eq!(field_values(&outage).get(Field::Alias), &open);
        assert_eq!(field_values(&outage).get(Field::Comm), &open);
        assert_eq!(field_values(&chain(samples::by_hand())).get(Field::Alias), &FieldValue::default());
    }
}
