//! Serial ports that are plugged in: what they are, and stable names for them.
//!
//! `usb:VID:PID[:SERIAL][:ifNN]` names an adapter wherever it is plugged in and whatever number the kernel gave it; `ifNN` is
//! the interface, for adapters with several ports. `usb:1-4.2[:ifNN]` names what is plugged in there. Everything is read from sysfs; nothing is opened.

use super::lock::WireLock;
use super::refusal::holders;
use crate::bench::did_you_mean;
use crate::error::EngineError;
use std::path::{Path, PathBuf};

/// A serial port of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SerialPort {
    /// The device node.
    pub path: PathBuf,
    /// `usb`, or `uart` for one that is built in.
    pub kind: &'static str,
    /// What it is, if it hangs on USB.
    pub usb: Option<UsbPort>,
    /// The link in `/dev/serial/by-id`, if there is one.
    pub by_id: Option<PathBuf>,
    /// How many milliseconds the adapter collects bytes for, if its driver tells.
    pub latency_millis: Option<u32>,
    /// How many bytes the UART collects, if its driver tells.
    pub rx_trigger: Option<u32>,
    /// Who has it: holders of the lock, then processes that have it open.
    pub held_by: Vec<String>,
}

/// What a USB adapter says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UsbPort {
    /// Vendor, four hexadecimal digits.
    pub vendor: String,
    /// Product, four hexadecimal digits.
    pub product: String,
    /// Serial number, if it has one.
    pub serial: Option<String>,
    /// Interface, two hexadecimal digits.
    pub interface: Option<String>,
    /// Where it is plugged in: bus and ports on the way to it, such as `1-4.2`.
    pub location: Option<String>,
    /// Maker and product in words.
    pub words: String,
}

impl SerialPort {
    /// The names by which it can be opened: the device node, and the stable one.
    fn names(&self) -> Vec<String> {
        let usb = self.usb.as_ref().map(|usb| {
            let interface = usb.interface.as_ref().filter(|number| *number != "00");
            format!("{}{}", usb.name(), interface.map(|number| format!(":if{number}")).unwrap_or_default())
        });
        std::iter::once(self.path.display().to_string()).chain(usb).collect()
    }
}

impl UsbPort {
    /// The stable name, as short as it can be without loss.
    #[must_use]
    pub fn name(&self) -> String {
        let serial = self.serial.as_ref().map(|serial| format!(":{serial}")).unwrap_or_default();
        format!("usb:{}:{}{serial}", self.vendor, self.product)
    }

    fn fits(&self, wanted: &Wanted<'_>) -> bool {
        let is_it = match wanted.which {
            Which::At(location) => self.location.as_deref() == Some(location),
            Which::Made { vendor, product, serial } => {
                self.vendor.eq_ignore_ascii_case(vendor)
                    && self.product.eq_ignore_ascii_case(product)
                    && serial.is_none_or(|serial| self.serial.as_deref() == Some(serial))
            }
        };
        is_it && wanted.interface.is_none_or(|number| self.interface.as_deref() == Some(number))
    }
}

/// All serial ports that are plugged in or built in, in order of their names.
#[must_use]
pub fn ports() -> Vec<SerialPort> {
    ports_in(Path::new("/"))
}

/// [`ports`] of another root folder.
#[must_use]
pub fn ports_in(root: &Path) -> Vec<SerialPort> {
    let Ok(entries) = std::fs::read_dir(root.join("sys/class/tty")) else { return Vec::new() };
    let mut found: Vec<SerialPort> = entries.flatten().filter_map(|entry| port(root, &entry.path())).collect();
    found.sort_by_key(|port| natural(&port.path));
    found
}

/// The device node of a stable USB name; `None`: the text is no such name.
pub(crate) fn device_of(root: &Path, name: &str) -> Option<Result<PathBuf, EngineError>> {
    let rest = name.strip_prefix("usb:")?;
    Some(find(root, name, rest))
}

/// Whether a text is a stable name.
pub(crate) fn is_usb_name(name: &str) -> bool {
    name.strip_prefix("usb:").is_some_and(|rest| parse(rest).is_some())
}

#[derive(Debug)]
enum Which<'a> {
    Made { vendor: &'a str, product: &'a str, serial: Option<&'a str> },
    At(&'a str),
}

#[derive(Debug)]
struct Wanted<'a> {
    which: Which<'a>,
    interface: Option<&'a str>,
}

fn parse(rest: &str) -> Option<Wanted<'_>> {
    let is_interface = |text: &&str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (location, behind) = rest.split_once(':').map_or((rest, None), |(location, behind)| (location, Some(behind)));
    if is_location(location) {
        let interface = behind.map(|behind| behind.strip_prefix("if").filter(is_interface));
        return match interface {
            Some(None) => None,
            interface => Some(Wanted { which: Which::At(location), interface: interface.flatten() }),
        };
    }
    let (vendor, rest) = rest.split_once(':')?;
    let (product, rest) = rest.split_once(':').map_or((rest, None), |(product, rest)| (product, Some(rest)));
    let is_id = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (serial, interface) = match rest {
        None => (None, None),
        Some(rest) => {
            let (before, last) = rest.rsplit_once(':').map_or((None, rest), |(before, last)| (Some(before), last));
            match last.strip_prefix("if").filter(is_interface) {
                Some(number) => (before, Some(number)),
                None => (Some(rest), None),
            }
        }
    };
    let whole = is_id(vendor) && is_id(product) && serial.is_none_or(|serial| !serial.is_empty());
    whole.then_some(Wanted { which: Which::Made { vendor, product, serial }, interface })
}

/// `1-4.2`.
fn is_location(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(bus, ports)| is_number(bus) && ports.split('.').all(is_number))
}

fn find(root: &Path, name: &str, rest: &str) -> Result<PathBuf, EngineError> {
    let refused =
        |what: &str, hint: String| EngineError::Port { url: name.to_owned(), what: what.to_owned(), hint: Some(hint) };
    let Some(wanted) = parse(rest) else {
        let hint = "write vendor and product in four hexadecimal digits each: usb:0403:6001, usb:0403:6001:FT4XK2; \
                    or where it is plugged in: usb:1-4.2";
        return Err(refused("this is no USB name", hint.to_owned()));
    };
    let all = ports_in(root);
    let fitting: Vec<&SerialPort> =
        all.iter().filter(|port| port.usb.as_ref().is_some_and(|usb| usb.fits(&wanted))).collect();
    match fitting[..] {
        [port] => Ok(port.path.clone()),
        [] => Err(refused("no such adapter is plugged in", beside(name, &all))),
        _ => Err(refused(
            "several adapters fit",
            format!("{}: add the serial number, or the interface (:if01)", listed(&fitting)),
        )),
    }
}

/// What could be meant by a device that is not there, for people.
pub(super) fn instead_of(root: &Path, name: &str) -> String {
    beside(name, &ports_in(root))
}

/// What is plugged in, and what of it the name may mean.
fn beside(name: &str, all: &[SerialPort]) -> String {
    let known: Vec<String> = all.iter().flat_map(SerialPort::names).collect();
    let meant = did_you_mean(name, known.iter().map(String::as_str)).filter(|text| text.starts_with("did you mean"));
    let listed = if name.starts_with("usb:") { plugged_in(all) } else { there(all) };
    meant.map_or(listed.clone(), |meant| format!("{meant} {listed}"))
}

/// All ports, on USB or not.
fn there(all: &[SerialPort]) -> String {
    let texts: Vec<String> = all.iter().map(|port| port.names().join(" = ")).collect();
    if texts.is_empty() {
        return "no serial port is plugged in or built in".to_owned();
    }
    format!("plugged in or built in: {}", texts.join(", "))
}

fn plugged_in(all: &[SerialPort]) -> String {
    let usb: Vec<&SerialPort> = all.iter().filter(|port| port.usb.is_some()).collect();
    if usb.is_empty() {
        "no USB serial adapter is plugged in".to_owned()
    } else {
        format!("plugged in: {}", listed(&usb))
    }
}

fn listed(ports: &[&SerialPort]) -> String {
    let texts = ports.iter().filter_map(|port| {
        let usb = port.usb.as_ref()?;
        let interface = usb.interface.as_ref().map(|number| format!(":if{number}")).unwrap_or_default();
        Some(format!("{}{interface} at {}", usb.name(), port.path.display()))
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// The port of an entry of `/sys/class/tty`, if there is hardware behind it.
fn port(root: &Path, entry: &Path) -> Option<SerialPort> {
    let name = entry.file_name()?.to_str()?;
    let device = entry.join("device").canonicalize().ok()?;
    // UARTs that a board might have had are entries, too: their type is 0.
    if text(entry, "type").as_deref() == Some("0") {
        return None;
    }
    let usb = usb_of(root, &device);
    let path = root.join("dev").join(name);
    let by_id = by_id(root, name);
    let mut held_by: Vec<String> =
        WireLock::holder(&path.display().to_string()).iter().map(ToString::to_string).collect();
    if held_by.is_empty() {
        held_by = holders(&path);
    }
    let number = |folder: &Path, name: &str| text(folder, name).and_then(|text| text.parse().ok());
    Some(SerialPort {
        kind: if usb.is_some() { "usb" } else { "uart" },
        path,
        usb,
        by_id,
        latency_millis: number(&device, "latency_timer"),
        rx_trigger: number(entry, "rx_trig_bytes"),
        held_by,
    })
}

/// What stands in sysfs above a device about the USB adapter that it belongs to.
fn usb_of(root: &Path, device: &Path) -> Option<UsbPort> {
    let root = root.canonicalize().ok()?;
    let above = || device.ancestors().take_while(|folder| **folder != root);
    let adapter = above().find(|folder| folder.join("idVendor").exists())?;
    let interface = above().find_map(|folder| text(folder, "bInterfaceNumber"));
    let words = [text(adapter, "manufacturer"), text(adapter, "product")];
    Some(UsbPort {
        vendor: text(adapter, "idVendor")?.to_ascii_lowercase(),
        product: text(adapter, "idProduct")?.to_ascii_lowercase(),
        serial: text(adapter, "serial").filter(|serial| !serial.is_empty()),
        interface: interface.map(|number| number.to_ascii_lowercase()),
        location: adapter
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|name| is_location(name))
            .map(str::to_owned),
        words: words.into_iter().flatten().collect::<Vec<_>>().join(" "),
    })
}

/// The stable name of what is behind an entry of `/sys/class/tty`, if it hangs on USB: with its interface if it has
/// several, and with the place it is plugged in if it has no serial number.
pub(super) fn stable_name(root: &Path, entry: &Path) -> Option<String> {
    let device = entry.join("device").canonicalize().ok()?;
    let usb = usb_of(root, &device)?;
    let interface = usb.interface.as_ref().filter(|number| *number != "00");
    let interface = interface.map(|number| format!(":if{number}")).unwrap_or_default();
    let adapter = device.ancestors().find(|folder| folder.join("idVendor").exists())?.file_name()?;
    let place = if usb.serial.is_none() { format!("@{}", adapter.to_string_lossy()) } else { String::new() };
    Some(format!("{}{interface}{place}", usb.name()))
}

fn text(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned())
}

fn by_id(root: &Path, name: &str) -> Option<PathBuf> {
    let links = std::fs::read_dir(root.join("dev/serial/by-id")).ok()?;
    let leads_here = |link: &PathBuf| {
        std::fs::read_link(link).is_ok_and(|target| target.file_name().is_some_and(|target| target == name))
    };
    links.flatten().map(|link| link.path()).find(leads_here)
}

/// `ttyUSB2` before `ttyUSB10`.
fn natural(path: &Path) -> (String, u64) {
    let name = path.display().to_string();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.to_owned(), name[stem.len()..].parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    /// A machine with these adapters: number of the tty, vendor and product, serial, interface.
    fn machine(name: &str, adapters: &[(u32, &str, Option<&str>, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("fieldrig-usb-{}-{name}", std::process::id()));
        let class = root.join("sys/class/tty");
        create_dir_all(&class).expect("a folder");
        create_dir_all(root.join("dev/serial/by-id")).expect("a folder");
        for (number, id, serial, interface) in adapters {
            let adapter = root.join(format!("sys/devices/usb1/1-{number}"));
            let tty = adapter.join(format!("1-{number}:1.0/ttyUSB{number}"));
            create_dir_all(tty.join("tty")).expect("a folder");
            let (vendor, product) = id.split_once(':').expect("both");
            write(adapter.join("idVendor"), format!("{vendor}\n")).expect("written");
            write(adapter.join("idProduct"), format!("{product}\n")).expect("written");
            write(adapter.join("manufacturer"), "FTDI\n").expect("written");
            write(adapter.join("product"), "USB-RS485\n").expect("written");
            write(tty.parent().expect("one").join("bInterfaceNumber"), format!("{interface}\n")).expect("written");
            if let Some(serial) = serial {
                write(tty.join("latency_timer"), "16\n").expect("written");
                write(adapter.join("serial"), format!("{serial}\n")).expect("written");
            }
            let entry = class.join(format!("ttyUSB{number}"));
            create_dir_all(&entry).expect("a folder");
            symlink(&tty, entry.join("device")).expect("a link");
            write(root.join(format!("dev/ttyUSB{number}")), "").expect("written");
            let link = root.join(format!("dev/serial/by-id/usb-FTDI-{number}"));
            symlink(format!("../../ttyUSB{number}"), link).expect("a link");
        }
        // A UART that is built in, one that is not there, and a tty without hardware.
        for (name, kind) in [("ttyS0", Some("4")), ("ttyS1", Some("0")), ("tty1", None)] {
            let entry = class.join(name);
            create_dir_all(&entry).expect("a folder");
            if let Some(kind) = kind {
                let device = root.join(format!("sys/devices/platform/{name}"));
                create_dir_all(&device).expect("a folder");
                symlink(&device, entry.join("device")).expect("a link");
                write(entry.join("type"), kind).expect("written");
                write(entry.join("rx_trig_bytes"), "8\n").expect("written");
            }
        }
        root
    }

    fn error(root: &Path, name: &str) -> (String, String) {
        let error = device_of(root, name).expect("a USB name").expect_err("not found");
        (error.to_string(), error.hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn ports_are_listed_with_what_they_say_about_themselves() {
        let root = machine("list", &[(10, "0403:6001", Some("FT4XK2"), "00"), (2, "10C4:EA60", None, "00")]);
        let ports = ports_in(&root);
        let names: Vec<_> =
            ports.iter().filter_map(|port| port.path.file_name()?.to_str().map(str::to_owned)).collect();
        assert_eq!(names, ["ttyS0", "ttyUSB2", "ttyUSB10"]);
        assert_eq!((ports[0].kind, ports[0].usb.is_none()), ("uart", true));
        let usb = ports[2].usb.as_ref().expect("on USB");
        assert_eq!((usb.name().as_str(), usb.words.as_str()), ("usb:0403:6001:FT4XK2", "FTDI USB-RS485"));
        assert_eq!(ports[1].usb.as_ref().map(UsbPort::name).as_deref(), Some("usb:10c4:ea60"));
        assert_eq!(
            (usb.location.as_deref(), ports[2].latency_millis, ports[0].rx_trigger),
            (Some("1-10"), Some(16), Some(8))
        );
        assert_eq!((ports[1].latency_millis, ports[2].rx_trigger), (None, None), "not every driver tells");
        assert!(ports[2].by_id.as_ref().is_some_and(|link| link.ends_with("usb-FTDI-10")));
        std::fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn a_stable_name_finds_its_adapter() {
        let adapters = [
            (0, "0403:6001", Some("FT4XK2"), "00"),
            (1, "0403:6001", Some("FT9"), "00"),
            (2, "0403:6011", Some("A:B"), "00"),
            (3, "0403:6011", Some("A:B"), "01"),
        ];
        let root = machine("find", &adapters);
        let found = |name: &str| device_of(&root, name).expect("a USB name").map(|path| path.display().to_string());
        for (name, number) in [
            ("usb:0403:6001:FT9", 1),
            ("usb:0403:6011:A:B:if01", 3),
            ("usb:0403:6011:if00", 2),
            ("usb:1-1", 1),
            ("usb:1-3:if01", 3),
        ] {
            assert_eq!(found(name), Ok(root.join(format!("dev/ttyUSB{number}")).display().to_string()), "{name}");
        }
        assert!(device_of(&root, "/dev/ttyUSB0").is_none());
        let (text, hint) = error(&root, "usb:0403:6001");
        assert_eq!(text, "usb:0403:6001: several adapters fit");
        assert!(hint.starts_with("usb:0403:6001:FT4XK2:if00 at "), "{hint}");
        let (text, hint) = error(&root, "usb:10c4:ea60");
        assert_eq!(text, "usb:10c4:ea60: no such adapter is plugged in");
        assert!(hint.starts_with("plugged in: usb:0403:6001:FT4XK2:if00 at "), "{hint}");
        let (_, hint) = error(&root, "usb:0403:6001:FT4XK3");
        assert!(hint.starts_with("did you mean `usb:0403:6001:FT4XK2`? plugged in: "), "{hint}");
        let node = |number: u32| root.join(format!("dev/ttyUSB{number}")).display().to_string();
        let hint = instead_of(&root, &node(7));
        assert!(hint.starts_with(&format!("did you mean `{}`? plugged in or built in: ", node(0))), "{hint}");
        assert!(hint.contains(&format!("{} = usb:0403:6011:A:B:if01", node(3))), "{hint}");
        std::fs::remove_dir_all(&root).expect("removed");
        assert_eq!(error(&root, "usb:10c4:ea60").1, "no USB serial adapter is plugged in");
        for wrong in ["usb:", "usb:1-", "usb:1-4:01", "usb:0403", "usb:403:6001", "usb:0403:6001:", "usb:zzzz:6001"] {
            assert_eq!(error(&root, wrong).0, format!("{wrong}: this is no USB name"));
        }
    }
}
