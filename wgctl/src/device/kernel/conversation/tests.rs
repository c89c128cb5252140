//! Tests with responses that the kernel sends, and with responses that it should not send.

use netlink_packet_core::NLM_F_MULTIPART;

use super::*;

/// A message type that belongs to some family: `NLMSG_MIN_TYPE` (`linux/netlink.h`) is 16.
const PART: u16 = 17;

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = HEADER_LEN + payload.len();
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// Feeds the datagrams until the end. Returns the parts, or the reason for a failure.
fn feed(conversation: &mut Conversation, datagrams: &[Vec<u8>]) -> Result<(Vec<Vec<u8>>, Progress), Failure> {
    let mut parts = Vec::new();
    let mut progress = Progress::More;
    for datagram in datagrams {
        assert_eq!(progress, Progress::More, "fed past the end");
        progress = conversation.feed(datagram, &mut |part| {
            parts.push(part.to_vec());
            Ok(())
        })?;
    }
    Ok((parts, progress))
}

fn code(errno: i32) -> [u8; 4] {
    (-errno).to_ne_bytes()
}

#[test]
fn a_dump_ends_with_done_and_not_before() {
    let parts = [
        message(PART, NLM_F_MULTIPART, 7, b"one."),
        message(PART, NLM_F_MULTIPART, 7, b"two."),
    ]
    .concat();
    let mut conversation = Conversation::dump(7);
    let (taken, progress) = feed(&mut conversation, &[parts]).unwrap();
    assert_eq!((taken.len(), progress), (2, Progress::More));
    let done = message(NLMSG_DONE, NLM_F_MULTIPART, 7, &code(0));
    assert_eq!(feed(&mut conversation, &[done]).unwrap().1, Progress::Ended);
    assert!(!conversation.interrupted());
}

#[test]
fn an_interrupted_dump_is_detected_wherever_the_kernel_sets_the_flag() {
    for interrupted_part in 0..3 {
        let flag = |n| {
            if n == interrupted_part {
                NLM_F_MULTIPART | NLM_F_DUMP_INTR
            } else {
                NLM_F_MULTIPART
            }
        };
        let datagrams = [
            message(PART, flag(0), 7, b"one."),
            message(PART, flag(1), 7, b"two."),
            message(NLMSG_DONE, flag(2), 7, &code(0)),
        ];
        let mut conversation = Conversation::dump(7);
        assert_eq!(feed(&mut conversation, &datagrams).unwrap().1, Progress::Ended);
        assert!(conversation.interrupted());
    }
}

#[test]
fn an_errno_in_done_is_an_error() {
    let done = message(NLMSG_DONE, NLM_F_MULTIPART, 7, &code(90));
    let failed = feed(&mut Conversation::dump(7), &[done]);
    assert!(matches!(failed, Err(Failure::Refused { errno: 90, .. })));
}

#[test]
fn responses_to_earlier_requests_are_ignored() {
    let late = message(NLMSG_ERROR, NLM_F_CAPPED, 6, &[&code(1)[..], &[0; 16]].concat());
    let ours = message(NLMSG_ERROR, NLM_F_CAPPED, 7, &[&code(0)[..], &[0; 16]].concat());
    let mut conversation = Conversation::acknowledged(7, 1);
    assert_eq!(feed(&mut conversation, &[late, ours]).unwrap().1, Progress::Ended);
}

#[test]
fn the_kernels_own_message_is_kept() {
    let mut words = Vec::new();
    words.extend_from_slice(&12u16.to_ne_bytes());
    words.extend_from_slice(&ERROR_MESSAGE.to_ne_bytes());
    words.extend_from_slice(b"too odd\0");
    let capped = [&code(22)[..], &[0; 16], &words].concat();
    let request = message(PART, 0, 7, &[9; 30]);
    let whole = [&code(22)[..], &request, &words].concat();
    for (flags, payload) in [(NLM_F_CAPPED | NLM_F_ACK_TLVS, capped), (NLM_F_ACK_TLVS, whole)] {
        let refusal = message(NLMSG_ERROR, flags, 7, &payload);
        let Err(Failure::Refused { errno, message }) = feed(&mut Conversation::acknowledged(7, 1), &[refusal]) else {
            panic!("not refused")
        };
        assert_eq!((errno, message.as_str()), (22, "too odd"));
    }
}

#[test]
fn a_batch_ends_when_every_message_has_been_acknowledged() {
    let acknowledgement = |sequence| message(NLMSG_ERROR, NLM_F_CAPPED, sequence, &[&code(0)[..], &[0; 16]].concat());
    let mut conversation = Conversation::acknowledged(u32::MAX, 2);
    assert_eq!(
        feed(&mut conversation, &[acknowledgement(0)]).unwrap().1,
        Progress::More
    );
    assert_eq!(
        feed(&mut conversation, &[acknowledgement(1)]).unwrap().1,
        Progress::Ended
    );
    let refusal = message(NLMSG_ERROR, NLM_F_CAPPED, u32::MAX, &[&code(1)[..], &[0; 16]].concat());
    let failed = feed(&mut Conversation::acknowledged(u32::MAX, 2), &[refusal]);
    assert!(matches!(failed, Err(Failure::Refused { errno: 1, .. })));
}

#[test]
fn garbage_is_an_error_and_does_not_panic() {
    for garbage in [vec![0; 3], vec![0; 16], vec![255; 40], {
        let mut short = message(PART, 0, 7, b"part");
        short.truncate(18);
        short
    }] {
        assert!(feed(&mut Conversation::dump(7), &[garbage]).is_err());
    }
}
