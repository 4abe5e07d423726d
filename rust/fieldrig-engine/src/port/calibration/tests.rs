use super::*;
use std::os::unix::fs::symlink;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("fieldrig-calibration-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("one")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is of no use any more, be it there or not.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A machine with one FTDI adapter at /dev/ttyUSB3.
fn machine(name: &str) -> Folder {
    let root = Folder::new(name);
    let adapter = "sys/devices/usb1/1-4";
    root.write(&format!("{adapter}/idVendor"), "0403\n");
    root.write(&format!("{adapter}/idProduct"), "6001\n");
    root.write(&format!("{adapter}/serial"), "FT4XK2\n");
    root.write(&format!("{adapter}/1-4:1.0/bInterfaceNumber"), "00\n");
    root.write(&format!("{adapter}/1-4:1.0/ttyUSB3/latency_timer"), "16\n");
    root.write("proc/sys/kernel/osrelease", "6.1.0-test\n");
    root.write("sys/bus/usb-serial/drivers/ftdi_sio/bind", "");
    std::fs::create_dir_all(root.0.join("sys/class/tty/ttyUSB3")).expect("a folder");
    let tty = root.0.join(adapter).join("1-4:1.0/ttyUSB3");
    symlink(&tty, root.0.join("sys/class/tty/ttyUSB3/device")).expect("a link");
    symlink(root.0.join("sys/bus/usb-serial/drivers/ftdi_sio"), tty.join("driver")).expect("a link");
    root.write("dev/ttyUSB3", "");
    root
}

fn measured(adapter: Adapter) -> Calibration {
    Calibration {
        adapter,
        resolution: Duration::from_nanos(1_234_567),
        delay: Duration::from_micros(900),
        line: "115200 8N1".parse().expect("valid"),
        rounds: 200,
    }
}

#[test]
fn an_adapter_is_known_by_all_that_its_resolution_depends_on() {
    let root = machine("adapter");
    for name in ["usb:0403:6001", &root.0.join("dev/ttyUSB3").display().to_string()] {
        let adapter = Adapter::within(&root.0, name).expect("it is there");
        assert_eq!(adapter.name, "usb:0403:6001:FT4XK2");
        assert_eq!((adapter.driver.as_deref(), adapter.latency_timer), (Some("ftdi_sio"), Some(16)));
        assert_eq!((adapter.rx_trig_bytes, adapter.kernel.as_str()), (None, "6.1.0-test"));
    }
    let pty = Adapter::within(&root.0, "/dev/none/link").expect("any name will do");
    assert_eq!((pty.name.as_str(), pty.driver), ("/dev/none/link", None));
}

#[test]
fn a_measurement_is_kept_and_used_only_as_long_as_nothing_changed() {
    let root = machine("kept");
    let file = root.0.join("config/calibration.toml");
    assert_eq!(load(&file), Ok(Vec::new()));
    let adapter = Adapter::within(&root.0, "usb:0403:6001").expect("it is there");
    store(&file, &measured(Adapter { name: "/dev/\"odd\"".to_owned(), ..adapter.clone() })).expect("stored");
    store(&file, &measured(adapter.clone())).expect("stored");
    store(&file, &measured(adapter.clone())).expect("stored again");
    let found = load(&file).expect("it can be read");
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].adapter, adapter);
    assert_eq!(found[1].resolution, Duration::from_micros(1_235), "rounded up");
    for (now, difference) in [
        (Adapter { latency_timer: Some(1), ..adapter.clone() }, "its latency_timer was 16, it is 1 now"),
        (Adapter { kernel: "6.12".to_owned(), ..adapter.clone() }, "its kernel was 6.1.0-test, it is 6.12 now"),
        (Adapter { driver: None, ..adapter.clone() }, "its driver was ftdi_sio, it is none now"),
    ] {
        assert_eq!(now.differs(&adapter).as_deref(), Some(difference));
    }
    assert_eq!(adapter.differs(&adapter), None);
}

#[test]
fn it_holds_for_lines_that_are_not_slower() {
    let adapter = Adapter { name: "a".to_owned(), ..Adapter::default() };
    let known = Known { stored: Ok(measured(adapter)) };
    let line = |text: &str| text.parse::<LineSettings>().expect("valid");
    let assumed = Duration::from_millis(20);
    assert_eq!(known.resolution(&line("230400 8N1")), Some(Duration::from_nanos(1_234_567)));
    assert_eq!(known.note(&line("115200 8N1"), assumed), "calibrated at 115200 8N1 in 200 rounds");
    assert_eq!(known.resolution(&line("9600 8N1")), None);
    assert_eq!(
        known.note(&line("9600 8N1"), assumed),
        "its calibration is not used: it was made at 115200 8N1, 9600 8N1 is slower, so 20 ms is assumed"
    );
    let never = Known { stored: Err("it was never calibrated".to_owned()) };
    assert_eq!(never.note(&line("9600 8N1"), assumed), "it was never calibrated, so 20 ms is assumed");
}

#[test]
fn a_file_that_is_wrong_says_where() {
    let root = Folder::new("wrong");
    let file = root.0.join("calibration.toml");
    let good = "resolution = \"1ms\"\ndelay = \"1ms\"\nline = \"9600 8N1\"\nrounds = 9\nkernel = \"6\"\n";
    for (text, what) in [
        ("[ports]\n", ":1:2: unknown key `ports`: it holds [port.\"NAME\"] only"),
        ("port = 3\n", ":1:8: `port` is an integer, a table is expected"),
        ("[port]\na = 1\n", "[port.\"a\"] is an integer"),
        (&format!("[port.a]\n{good}speed = 3\n"), ":7:1: unknown key `speed`; known are resolution, "),
        ("[port.a]\nresolution = 3\n", "`resolution` is an integer, a string is expected"),
        (&format!("[port.a]\n{}", good.replace("1ms\"\nd", "1\"\nd")), "`1` is not a duration"),
        (&format!("[port.a]\n{}", good.replacen("1ms", "0.1ns", 1)), ":2:14: `resolution` is 0: no port tells"),
        (&format!("[port.a]\n{}", good.replace("rounds = 9\n", "")), "missing key `rounds`"),
        (&format!("[port.a]\n{}", good.replace("9600", "fast")), ":4:8: `fast 8N1` is not a line setting"),
    ] {
        std::fs::write(&file, text).expect("written");
        let error = load(&file).expect_err(text).to_string();
        assert!(error.contains(what), "{error}");
        assert!(store(&file, &measured(Adapter::default())).is_err(), "nothing is overwritten that cannot be read");
    }
    std::fs::write(&file, format!("[port.a]\n{good}")).expect("written");
    assert_eq!(load(&file).map(|all| all.len()), Ok(1));
}
