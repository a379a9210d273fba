//! What the clients of the matrix are made of: the files that pin versions, and the sources that are compiled.
//!
//! The set-up installs each set into a directory named after the hash of its files, and the tests look there,
//! so that neither can run with the other's idea of a version. Both compile this very file.

/// The files of a set, which decide what is installed.
pub(crate) struct Pins {
    /// The set's name.
    pub(crate) name: &'static str,
    /// What the files say, in a fixed order.
    files: &'static [&'static str],
}

/// PyPI's packages.
pub(crate) const PYTHON: Pins = Pins {
    name: "clients-python",
    files: &[include_str!("../../clients/python/requirements.txt")],
};

/// npm's packages.
pub(crate) const NODE: Pins = Pins {
    name: "clients-node",
    files: &[
        include_str!("../../clients/node/package.json"),
        include_str!("../../clients/node/package-lock.json"),
    ],
};

/// Go's modules, and the program.
pub(crate) const GO: Pins = Pins {
    name: "clients-go",
    files: &[
        include_str!("../../clients/go/go.mod"),
        include_str!("../../clients/go/go.sum"),
        include_str!("../../clients/go/main.go"),
        include_str!("../../clients/go/rest.go"),
        include_str!("../../clients/go/grpc.go"),
    ],
};

/// Maven's artifacts, and the program.
pub(crate) const JAVA: Pins = Pins {
    name: "clients-java",
    files: &[
        include_str!("../../clients/java/pom.xml"),
        include_str!("../../clients/java/Client.java"),
    ],
};

impl Pins {
    /// A name for the contents: FNV-1a of 64 bits, which only has to tell one state of the tree from the next.
    pub(crate) fn version(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for file in self.files {
            // A byte that is in no text ends a file.
            for byte in file.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    }
}
