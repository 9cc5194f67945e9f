//! The programs, users and modules of a generated machine.

/// A program that makes requests.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) comm: &'static str,
    pub(super) exe: &'static str,
    pub(super) argv: &'static [&'static str],
    pub(super) syscall: &'static str,
    /// Innermost first: function, and module or an empty string.
    pub(super) stack: &'static [(&'static str, &'static str)],
    /// The aliases it requests.
    pub(super) requests: &'static [Alias],
}

/// An alias with its outcome.
#[derive(Debug)]
pub(super) struct Alias {
    pub(super) name: &'static str,
    pub(super) explanation: &'static str,
    pub(super) end: End,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// These modules are loaded, in this order; the last is the requested one.
    Loads(&'static [&'static str]),
    /// There is no such module.
    NotFound,
    /// It is already loaded.
    AlreadyLoaded,
    /// modprobe's configuration forbids it.
    Blocklisted,
    /// A security module denies it.
    Denied,
    /// It is loaded, and its init fails.
    InitFails(&'static str),
}

/// The context of a process: user id, user name, unit, container, cgroup.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) uid: u32,
    pub(super) user: &'static str,
    pub(super) unit: &'static str,
    pub(super) container: &'static str,
    pub(super) cgroup: &'static str,
}

macro_rules! place {
    ($uid:literal, $user:literal, $unit:literal, $container:literal, $cgroup:literal) => {
        Place { uid: $uid, user: $user, unit: $unit, container: $container, cgroup: $cgroup }
    };
}

pub(super) const PLACES: &[Place] = &[
    place!(0, "root", "cron.service", "", "/system.slice/cron.service"),
    place!(0, "root", "ssh.service", "", "/user.slice/user-0.slice/session-7.scope"),
    place!(1000, "alice", "session-3.scope", "", "/user.slice/user-1000.slice/session-3.scope"),
    place!(0, "root", "kubelet.service", "", "/system.slice/kubelet.service"),
    place!(
        0,
        "root",
        "",
        "docker:4f0c9a1be8d2b4c71f2e0d9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c",
        "/system.slice/docker-4f0c9a1be8d2b4c71f2e0d9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c.scope"
    ),
    place!(101, "systemd-network", "systemd-networkd.service", "", "/system.slice/systemd-networkd.service"),
    place!(1001, "bob", "session-12.scope", "", "/user.slice/user-1001.slice/session-12.scope"),
    place!(
        33,
        "www-data",
        "",
        "containerd:9be1d0c2a3f4e5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9011223344",
        "/kubepods.slice/kubepods-burstable.slice/cri-containerd-9be1d0c2a3f4.scope"
    ),
    place!(65534, "nobody", "ci-runner.service", "", "/system.slice/ci-runner.service"),
];

const NAT: &[&str] = &["nf_defrag_ipv6", "nf_defrag_ipv4", "nf_conntrack", "nf_nat", "iptable_nat"];

macro_rules! alias {
    ($name:literal, $explanation:literal, $end:expr) => {
        Alias { name: $name, explanation: $explanation, end: $end }
    };
}

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        comm: "mount",
        exe: "/usr/bin/mount",
        argv: &["mount", "-t", "auto", "/dev/sdb1", "/mnt"],
        syscall: "mount",
        stack: &[("get_fs_type", ""), ("path_mount", ""), ("__x64_sys_mount", "")],
        requests: &[
            alias!("fs-nosuchfs", "mount of the file system type \\\"nosuchfs\\\" (filesystem type)", End::NotFound),
            alias!(
                "fs-xfs",
                "mount of the file system type \\\"xfs\\\" (filesystem type)",
                End::Loads(&["libcrc32c", "xfs"])
            ),
            alias!(
                "fs-btrfs",
                "mount of the file system type \\\"btrfs\\\" (filesystem type)",
                End::Loads(&["raid6_pq", "xor", "btrfs"])
            ),
            alias!("fs-cramfs", "mount of the file system type \\\"cramfs\\\" (filesystem type)", End::Blocklisted),
        ],
    },
    Program {
        comm: "iptables",
        exe: "/usr/sbin/xtables-legacy-multi",
        argv: &["iptables", "-t", "nat", "-L"],
        syscall: "getsockopt",
        stack: &[
            ("xt_request_find_table_lock", "x_tables"),
            ("get_info", "ip_tables"),
            ("do_ipt_get_ctl", "ip_tables"),
            ("nf_getsockopt", ""),
            ("ip_getsockopt", ""),
            ("__x64_sys_getsockopt", ""),
        ],
        requests: &[alias!(
            "iptable_nat",
            "iptables reads or changes the table \\\"nat\\\": iptables -t nat (IPv4 table)",
            End::Loads(NAT)
        )],
    },
    Program {
        comm: "python3",
        exe: "/usr/bin/python3.11",
        argv: &["python3", "/opt/scan.py", "--all-families"],
        syscall: "socket",
        stack: &[("__sock_create", ""), ("__sys_socket", ""), ("__x64_sys_socket", "")],
        requests: &[
            alias!("net-pf-9", "socket(AF_X25)", End::NotFound),
            alias!("net-pf-30", "socket(AF_TIPC)", End::Loads(&["udp_tunnel", "ip6_udp_tunnel", "tipc"])),
            alias!("net-pf-21", "socket(AF_RDS)", End::Blocklisted),
            alias!("net-pf-38", "socket(AF_ALG)", End::AlreadyLoaded),
            alias!("net-pf-44", "socket(AF_XDP)", End::Denied),
        ],
    },
    Program {
        comm: "nft",
        exe: "/usr/sbin/nft",
        argv: &["nft", "-f", "/etc/nftables.conf"],
        syscall: "sendmsg",
        stack: &[
            ("nf_tables_newrule", "nf_tables"),
            ("nfnetlink_rcv_batch", "nfnetlink"),
            ("netlink_unicast", ""),
            ("__x64_sys_sendmsg", ""),
        ],
        requests: &[
            alias!("nft-expr-2-ct", "nftables expression ct", End::AlreadyLoaded),
            alias!("nft-chain-2-nat", "nftables chain of type nat", End::Loads(&["nf_nat", "nft_chain_nat"])),
        ],
    },
    Program {
        comm: "cryptsetup",
        exe: "/usr/sbin/cryptsetup",
        argv: &["cryptsetup", "open", "/dev/sda3", "data"],
        syscall: "ioctl",
        stack: &[
            ("crypto_larval_lookup", ""),
            ("crypt_ctr", "dm_crypt"),
            ("dm_table_add_target", "dm_mod"),
            ("__x64_sys_ioctl", ""),
        ],
        requests: &[
            alias!(
                "crypto-xts(aes)",
                "crypto algorithm xts(aes)",
                End::Loads(&["crypto_simd", "cryptd", "aesni_intel"])
            ),
            alias!("crypto-essiv(cbc(aes),sha256)", "crypto algorithm essiv", End::NotFound),
            alias!("dm-crypt", "device-mapper target crypt", End::InitFails("dm_crypt")),
        ],
    },
    Program {
        comm: "qemu-system-x86",
        exe: "/usr/bin/qemu-system-x86_64",
        argv: &["qemu-system-x86_64", "-enable-kvm", "-m", "2048"],
        syscall: "openat",
        stack: &[("misc_open", ""), ("chrdev_open", ""), ("do_dentry_open", ""), ("__x64_sys_openat", "")],
        requests: &[
            alias!("char-major-10-232", "open of /dev/kvm", End::Loads(&["irqbypass", "kvm", "kvm_intel"])),
            alias!("char-major-10-237", "open of /dev/loop-control", End::AlreadyLoaded),
        ],
    },
];

/// Modules that udev loads for devices, with their paths.
pub(super) const DEVICES: &[(&str, &str)] = &[
    ("usb_storage", "drivers/usb/storage/usb-storage"),
    ("snd_usb_audio", "sound/usb/snd-usb-audio"),
    ("cdc_acm", "drivers/usb/class/cdc-acm"),
    ("uas", "drivers/usb/storage/uas"),
    ("iwlmvm", "drivers/net/wireless/intel/iwlwifi/mvm/iwlmvm"),
];

/// Modules that are loaded explicitly.
pub(super) const EXPLICIT: &[&str] = &["dummy", "br_netfilter", "overlay", "wireguard", "zram"];

/// Modules that are loaded before tracing starts.
pub(super) const BASELINE: &[&str] = &["autofs4", "ext4", "jbd2", "mbcache", "virtio_net", "virtio_pci"];
