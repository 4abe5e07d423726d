//! Types of points.

/// What the bits of a point mean.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PointType {
    /// 0 or 1; the only type of coils and discrete inputs. In a register: one bit of it, or the whole of it.
    Bool,
    /// 8 bits, unsigned: one half of a register.
    U8,
    /// 8 bits, two's complement: one half of a register.
    I8,
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, two's complement.
    I32,
    /// 64 bits, unsigned.
    U64,
    /// 64 bits, two's complement.
    I64,
    /// 32 bits, IEEE 754.
    F32,
    /// 64 bits, IEEE 754.
    F64,
    /// Binary coded decimal: four digits to a register.
    Bcd,
    /// Characters, two to a register.
    Text,
    /// Year, month, day, hour, minute and second in six registers.
    DateTime,
}

impl PointType {
    /// All types with their names in files.
    pub const NAMES: [(&'static str, PointType); 14] = [
        ("bool", PointType::Bool),
        ("u8", PointType::U8),
        ("i8", PointType::I8),
        ("u16", PointType::U16),
        ("i16", PointType::I16),
        ("u32", PointType::U32),
        ("i32", PointType::I32),
        ("u64", PointType::U64),
        ("i64", PointType::I64),
        ("f32", PointType::F32),
        ("f64", PointType::F64),
        ("bcd", PointType::Bcd),
        ("text", PointType::Text),
        ("datetime", PointType::DateTime),
    ];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        PointType::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// How many registers it takes; the least number for those that may take more.
    #[must_use]
    pub fn registers(self) -> usize {
        match self {
            PointType::Bool | PointType::U8 | PointType::I8 | PointType::U16 | PointType::I16 => 1,
            PointType::U32 | PointType::I32 | PointType::F32 => 2,
            PointType::U64 | PointType::I64 | PointType::F64 => 4,
            PointType::Bcd | PointType::Text => 1,
            PointType::DateTime => 6,
        }
    }

    /// Its values are integers before they are scaled.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !matches!(self, PointType::F32 | PointType::F64 | PointType::Text | PointType::DateTime)
    }

    /// Negative values are there, as two's complement.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, PointType::I8 | PointType::I16 | PointType::I32 | PointType::I64)
    }

    /// It can be a part of the bits of its registers.
    #[must_use]
    pub fn may_be_part(self) -> bool {
        self.is_integer() && self != PointType::Bcd
    }
}
