//! The content of the table as nftables messages (`linux/netfilter/nf_tables.h`).
//!
//! Owns the table's name, its chain, and one rule per network: `ip saddr NETWORK oifname != "INTERFACE"
//! masquerade`. It must not perform I/O.
//!
//! Each rule carries a mark, which `nft` shows as the rule's comment and which names everything on which the rule
//! depends. The table is correct if its rules have the right marks in the right order.

use ipnet::IpNet;
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, HookNumber, InetHookNumber, Meta,
    MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute, RuleMessage, TableAttribute, TableMessage,
};
use wgctl::name::InterfaceName;

/// `NFT_MSG_NEWRULE`, the type of a dumped rule.
pub(super) const NEW_RULE: u8 = 6;
const CHAIN: &str = "postrouting";
/// `NF_IP_PRI_NAT_SRC` (`linux/netfilter_ipv4.h`), the priority for source NAT.
const PRIORITY: u32 = 100;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER`.
const NETWORK_HEADER: u32 = 1;
/// `IFNAMSIZ`: the kernel compares the whole name, padded with zeros.
const NAME_BYTES: usize = 16;
/// `NFTNL_UDATA_RULE_COMMENT` (libnftnl, `udata.h`), the type of user data that `nft` shows.
const COMMENT: u8 = 0;
/// The version of the rule format, so that a later version of the agent replaces rules from an earlier one.
const FORM: u8 = 1;

/// Returns the name of the table.
pub(crate) fn table(name: &InterfaceName) -> String {
    format!("sentrazone-{name}")
}

/// Returns the request that reads the table.
pub(super) fn table_query(name: &InterfaceName) -> NfTablesMessage {
    NfTablesMessage::GetTable(named(name))
}

/// Returns the request that reads the rules in the table.
pub(super) fn rules_query(name: &InterfaceName) -> NfTablesMessage {
    let attributes = vec![
        RuleAttribute::Table(table(name)),
        RuleAttribute::Chain(CHAIN.to_owned()),
    ];
    NfTablesMessage::GetRule(RuleMessage { attributes })
}

/// Returns messages that remove the table whether or not it exists: they create it first.
pub(super) fn removing(name: &InterfaceName) -> Vec<NfTablesMessage> {
    vec![
        NfTablesMessage::NewTable(named(name)),
        NfTablesMessage::DeleteTable(named(name)),
    ]
}

/// Returns messages that replace any existing table with a new one.
pub(super) fn replacing(name: &InterfaceName, networks: &[IpNet]) -> Vec<NfTablesMessage> {
    let mut messages = removing(name);
    messages.push(NfTablesMessage::NewTable(named(name)));
    messages.push(chain(name));
    messages.extend(networks.iter().map(|network| rule(name, network)));
    messages
}

/// Returns the marks of the rules for these networks, in order.
pub(super) fn marks(name: &InterfaceName, networks: &[IpNet]) -> Vec<Vec<u8>> {
    networks.iter().map(|network| mark(name, network)).collect()
}

fn named(name: &InterfaceName) -> TableMessage {
    TableMessage {
        attributes: vec![TableAttribute::Name(table(name))],
    }
}

fn chain(name: &InterfaceName) -> NfTablesMessage {
    let hook = vec![
        Hook::Number(HookNumber::Inet(InetHookNumber::PostRouting)),
        Hook::Priority(PRIORITY),
    ];
    NfTablesMessage::NewChain(ChainMessage {
        attributes: vec![
            ChainAttribute::Table(table(name)),
            ChainAttribute::Name(CHAIN.to_owned()),
            ChainAttribute::Hook(hook),
            ChainAttribute::Policy(ACCEPT),
            ChainAttribute::Type("nat".to_owned()),
        ],
    })
}

fn rule(name: &InterfaceName, network: &IpNet) -> NfTablesMessage {
    let expressions = [family_is(network), source_is_in(network), leaves_elsewhere(name)]
        .into_iter()
        .flatten()
        .chain([masquerade()])
        .map(Into::into)
        .collect();
    NfTablesMessage::NewRule(RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table(name)),
            RuleAttribute::Chain(CHAIN.to_owned()),
            RuleAttribute::Expressions(expressions),
            RuleAttribute::UserData(mark(name, network)),
        ],
    })
}

/// Returns a comment in libnftnl's layout: type, length, and the text with its terminating zero.
fn mark(name: &InterfaceName, network: &IpNet) -> Vec<u8> {
    let text = format!("sentrazone {FORM}: {} not to {name}", network.trunc());
    // About 80 bytes at most: an IPv6 network and an interface name.
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut mark = vec![COMMENT, length];
    mark.extend_from_slice(text.as_bytes());
    mark.push(0);
    mark
}

/// Matches the address family: the table has the family `inet`, and the position of the source address differs
/// between IPv4 and IPv6.
fn family_is(network: &IpNet) -> Vec<Expressions> {
    // NFPROTO_IPV4, NFPROTO_IPV6 (linux/netfilter.h)
    let family = match network {
        IpNet::V4(_) => 2,
        IpNet::V6(_) => 10,
    };
    vec![load(MetaKey::Nfproto), compare(Operator::Equal, vec![family])]
}

fn source_is_in(network: &IpNet) -> Vec<Expressions> {
    let network = network.trunc();
    // The position of the source address: RFC 791, section 3.1; RFC 8200, section 3.
    let (offset, address, mask) = match network {
        IpNet::V4(v4) => (12, v4.network().octets().to_vec(), v4.netmask().octets().to_vec()),
        IpNet::V6(v6) => (8, v6.network().octets().to_vec(), v6.netmask().octets().to_vec()),
    };
    let length = if address.len() == 4 { 4 } else { 16 };
    let mut expressions = vec![Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(NETWORK_HEADER),
        Payload::Offset(offset),
        Payload::Len(length),
    ])];
    if network.prefix_len() < network.max_prefix_len() {
        let nothing = vec![0; mask.len()];
        expressions.push(Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(length),
            Bitwise::Mask(DataAttribute::Value(mask)),
            Bitwise::Xor(DataAttribute::Value(nothing)),
        ]));
    }
    expressions.push(compare(Operator::Equal, address));
    expressions
}

/// Matches packets that leave over another interface: packets between peers keep their addresses.
fn leaves_elsewhere(name: &InterfaceName) -> Vec<Expressions> {
    let mut bytes = name.as_str().as_bytes().to_vec();
    bytes.resize(NAME_BYTES, 0);
    vec![load(MetaKey::Oifname), compare(Operator::NotEqual, bytes)]
}

fn masquerade() -> Expressions {
    Expressions::Other {
        expression_type: "masq".to_owned(),
        attributes: Vec::new(),
    }
}

fn load(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(key)])
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}
