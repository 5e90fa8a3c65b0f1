//! Replies: cutting frames out of what a socket delivered, and reading the few header fields a load generator checks.
//!
//! Much smaller than a full codec on purpose: the generator shares the machine with the server it measures.

/// Largest frame a broker may send, as the reference's clients accept it.
const FRAME_LIMIT: usize = 16 * 1024 * 1024 + 4;

/// Bytes of the length a frame begins with, which it does not count.
const LENGTH_BYTES: usize = 4;

/// The header fields that are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Response code; 0 is success.
    pub code: i32,
    /// Number of the request it answers.
    pub opaque: i32,
    /// Bit 0 is set in responses.
    pub flag: i32,
    /// Text for people, as written (JSON escapes are not resolved).
    pub remark: &'a [u8],
    /// `queueId` of a send.
    pub queue_id: Option<u64>,
    /// `queueOffset` of a send.
    pub queue_offset: Option<u64>,
    /// `nextBeginOffset` of a pull.
    pub next_begin_offset: Option<u64>,
    /// `msgId` of a send: the store's address and the position in the log.
    pub msg_id: &'a [u8],
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The frame announces a length that cannot be.
    FrameLength,
    /// The header is longer than its frame, or neither JSON nor binary.
    Header,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FrameLength => "a frame announces an impossible length",
            Self::Header => "the header of a reply cannot be read",
        })
    }
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub reply: Reply<'a>,
    /// Its body.
    pub body: &'a [u8],
    /// Its length in all.
    pub total: usize,
}

/// The whole frame at the start of `bytes`; `None`: more bytes are needed.
pub fn first_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length =
        usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Malformed::FrameLength)?;
    if !(4..=FRAME_LIMIT).contains(&length) {
        return Err(Malformed::FrameLength);
    }
    let Some(frame) = rest.get(..length) else {
        return Ok(None);
    };
    let Some((&[kind, high, middle, low], rest)) = frame.split_first_chunk::<4>() else {
        return Err(Malformed::FrameLength);
    };
    let header_bytes = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    let (header, body) = rest
        .split_at_checked(header_bytes)
        .ok_or(Malformed::Header)?;
    let reply = match kind {
        0 => json(header),
        1 => binary(header),
        _ => None,
    };
    Ok(Some(Frame {
        reply: reply.ok_or(Malformed::Header)?,
        body,
        total: LENGTH_BYTES + length,
    }))
}

fn json(text: &[u8]) -> Option<Reply<'_>> {
    let mut reply = Reply::default();
    let mut scan = Scan { text, at: 0 };
    scan.object(&mut reply, false)?;
    (scan.at == text.len()).then_some(reply)
}

/// Walks over JSON text once, without building anything.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte <= b' ') {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The text between the quotes that start here.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            let rest = self.text.get(self.at..)?;
            self.at += rest
                .iter()
                .position(|&byte| byte == b'"' || byte == b'\\')?;
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Some(&self.text[from..self.at - 1]);
            }
            self.at += 2;
        }
    }

    fn scalar(&mut self) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let len = rest
            .iter()
            .position(|&byte| matches!(byte, b',' | b'}' | b']' | 0..=b' '));
        let len = len.unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// Steps over an object or array that is of no interest.
    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn object(&mut self, reply: &mut Reply<'a>, nested: bool) -> Option<()> {
        self.expect(b'{')?;
        self.skip_space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.expect(b':')?;
            self.skip_space();
            match self.peek()? {
                b'"' => {
                    let value = self.string()?;
                    reply.take(nested, key, value)?;
                }
                b'{' if !nested && key == b"extFields" => self.object(reply, true)?,
                b'{' | b'[' => self.skip_nested()?,
                _ => {
                    let value = self.scalar();
                    if value != b"null" {
                        reply.take(nested, key, value)?;
                    }
                }
            }
            self.skip_space();
            self.at += 1;
            match self.text.get(self.at - 1)? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }
}

impl<'a> Reply<'a> {
    /// Where in the log the message lies that was sent: the last sixteen digits of its id.
    pub fn position(&self) -> Option<u64> {
        let digits = self.msg_id.last_chunk::<16>()?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// Remembers a field if it is one that is looked at; `None` when its value cannot be read.
    fn take(&mut self, nested: bool, key: &[u8], value: &'a [u8]) -> Option<()> {
        match (nested, key) {
            (false, b"code") => self.code = signed(value)?,
            (false, b"opaque") => self.opaque = signed(value)?,
            (false, b"flag") => self.flag = signed(value)?,
            (false, b"remark") => self.remark = value,
            (true, b"queueId") => self.queue_id = Some(unsigned(value)?),
            (true, b"queueOffset") => self.queue_offset = Some(unsigned(value)?),
            (true, b"msgId") => self.msg_id = value,
            (true, b"nextBeginOffset") => self.next_begin_offset = Some(unsigned(value)?),
            _ => {}
        }
        Some(())
    }
}

fn unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn signed(digits: &[u8]) -> Option<i32> {
    match digits.strip_prefix(b"-") {
        Some(digits) => i32::try_from(-i64::try_from(unsigned(digits)?).ok()?).ok(),
        None => i32::try_from(unsigned(digits)?).ok(),
    }
}

/// The ROCKETMQ serialization: 21 fixed bytes with the remark inside, then a map of lengths and text.
fn binary(header: &[u8]) -> Option<Reply<'_>> {
    let (code, rest) = header.split_first_chunk()?;
    let (_language_and_version, rest) = rest.split_at_checked(3)?;
    let (opaque, rest) = rest.split_first_chunk()?;
    let (flag, rest) = rest.split_first_chunk()?;
    let (remark, rest) = sized::<4>(rest)?;
    let (mut map, _) = sized::<4>(rest)?;
    let mut reply = Reply {
        code: i32::from(i16::from_be_bytes(*code)),
        opaque: i32::from_be_bytes(*opaque),
        flag: i32::from_be_bytes(*flag),
        remark,
        ..Reply::default()
    };
    while !map.is_empty() {
        let (key, rest) = sized::<2>(map)?;
        let (value, rest) = sized::<4>(rest)?;
        reply.take(true, key, value)?;
        map = rest;
    }
    Some(reply)
}

/// Bytes behind a big-endian length of `N` bytes, and what follows them.
fn sized<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length
        .iter()
        .fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(4 + header.len() + body.len())
            .unwrap()
            .to_be_bytes()
            .to_vec();
        bytes.extend((u32::from(kind) << 24 | u32::try_from(header.len()).unwrap()).to_be_bytes());
        bytes.extend(header);
        bytes.extend(body);
        bytes
    }

    const SEND: &[u8] = br#"{"code":0,"extFields":{"queueId":"3","TRACE_ON":"true","MSG_REGION":"Default\"}Region","msgId":"7F","queueOffset":"8123"},"flag":1,"language":"JAVA","opaque":1000000017,"serializeTypeCurrentRPC":"JSON","version":513}"#;

    #[test]
    fn a_send_reply_is_read() {
        let bytes = frame(0, SEND, b"");
        let Frame { reply, body, total } = first_frame(&bytes).unwrap().unwrap();
        assert_eq!(
            (reply.code, reply.opaque, reply.flag),
            (0, 1_000_000_017, 1)
        );
        assert_eq!((reply.queue_id, reply.queue_offset), (Some(3), Some(8123)));
        assert_eq!((body, total), (&b""[..], bytes.len()));
    }

    #[test]
    fn key_order_spaces_nulls_and_unknown_members_do_not_matter() {
        let text = br#" { "opaque" : -5 , "x":{"code":"9","y":["}",1]}, "list":[{}], "remark":null, "extFields" : { } ,"flag":1, "code":14 }"#;
        let reply = json(text).unwrap();
        assert_eq!((reply.code, reply.opaque, reply.remark), (14, -5, &b""[..]));
        assert_eq!(json(b"{}"), Some(Reply::default()));
    }

    #[test]
    fn fields_of_the_same_name_on_the_other_level_are_not_taken() {
        let reply =
            json(br#"{"code":1,"queueOffset":"5","extFields":{"code":"7","opaque":"8"}}"#).unwrap();
        assert_eq!((reply.code, reply.opaque, reply.queue_offset), (1, 0, None));
    }

    #[test]
    fn every_proper_prefix_asks_for_more() {
        let bytes = frame(0, SEND, b"body");
        for end in 0..bytes.len() {
            assert_eq!(first_frame(&bytes[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn every_cut_header_is_refused() {
        for end in 0..SEND.len() {
            assert_eq!(json(&SEND[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_refused() {
        for text in [
            &br#"{"code":"x"}"#[..],
            br#"{"opaque":99999999999}"#,
            br#"{"extFields":{"queueOffset":"-1"}}"#,
            br#"{"extFields":{"queueOffset":""}}"#,
            br#"{"code":0} "#,
        ] {
            assert_eq!(json(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        assert_eq!(
            first_frame(&[0x7F, 0xFF, 0xFF, 0xFF]),
            Err(Malformed::FrameLength)
        );
        assert_eq!(first_frame(&[0, 0, 0, 3]), Err(Malformed::FrameLength));
        assert_eq!(
            first_frame(&[0, 0, 0, 4, 0, 0, 0, 1]),
            Err(Malformed::Header)
        );
        assert_eq!(
            first_frame(&[0, 0, 0, 4, 2, 0, 0, 0]),
            Err(Malformed::Header)
        );
    }

    #[test]
    fn a_binary_reply_is_read() {
        let mut header = vec![0, 17, 12, 2, 1];
        header.extend(1_000_000_001i32.to_be_bytes());
        header.extend(1i32.to_be_bytes());
        header.extend([0, 0, 0, 2, b'n', b'o']);
        let mut map = Vec::new();
        for (key, value) in [("queueId", "7"), ("queueOffset", "40")] {
            map.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
            map.extend(key.bytes());
            map.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            map.extend(value.bytes());
        }
        header.extend(u32::try_from(map.len()).unwrap().to_be_bytes());
        header.extend(map);
        let reply = binary(&header).unwrap();
        assert_eq!(
            (reply.code, reply.opaque, reply.flag),
            (17, 1_000_000_001, 1)
        );
        assert_eq!(
            (reply.remark, reply.queue_id, reply.queue_offset),
            (&b"no"[..], Some(7), Some(40))
        );
        for end in 0..header.len() {
            assert_eq!(binary(&header[..end]), None, "{end} bytes");
        }
    }
}
