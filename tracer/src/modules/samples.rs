//! Sample configuration of modprobe for tests.

/// Output of `modprobe --showconfig`, with blocked modules and aliases of several families.
pub(super) const CONFIG: &str = "\
blacklist can
install sctp /bin/false
alias net_pf_31 off

# End of configuration files. Dumping indexes now:

alias net_pf_30 tipc
alias net_pf_29 can
alias net_pf_31 bluetooth
alias net_pf_2_proto_132_type_1 sctp
alias fs_vfat vfat
alias fs_msdos vfat
alias pci:v00008086d00001000sv*sd*bc*sc*i* e1000
alias pci:v00008086d00001001sv*sd*bc*sc*i* e1000
alias rtnl_link_dummy dummy
alias net_pf_3 ax25
alias crypto_twofish_asm twofish_x86_64
alias crypto_twofish_asm twofish_x86_64_3way
";
