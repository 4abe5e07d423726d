/* The Modbus RTU server on UART1: unit 17, functions 03, 04, 06, 08 and 16.
 *
 * AP is "Modbus Application Protocol 1.1b3", SL is "Modbus over Serial Line 1.02".
 * A frame ends with 3.5 characters of silence (SL 2.5.1.1). What is damaged or for another unit is not answered.
 */
#include "board.h"
#include "firmware.h"

#define LONGEST 256u /* SL 2.5.1.1 */
/* A character has 11 bits (SL 2.5.1); above 19200 baud the time is fixed. */
#define SILENCE_US (BAUD > 19200u ? 1750u : 38500000u / BAUD)

enum { ILLEGAL_FUNCTION = 1, ILLEGAL_ADDRESS = 2, ILLEGAL_VALUE = 3 };

uint16_t holding[HOLDING];

/* What function 08 counts, from sub-function 11 on (AP 6.8.1). */
static uint16_t counters[5];
enum { BUS_MESSAGES, BUS_ERRORS, EXCEPTIONS, SERVER_MESSAGES, NO_RESPONSE };

static uint8_t frame[LONGEST], reply[LONGEST];
static volatile uint32_t length;
static volatile bool damaged, complete;

static uint16_t crc(const uint8_t *bytes, uint32_t count) { /* SL 6.2.2 */
    uint16_t sum = 0xFFFF;
    while (count--) {
        sum ^= *bytes++;
        for (int bit = 0; bit < 8; bit++) sum = (uint16_t)(sum & 1 ? sum >> 1 ^ 0xA001 : sum >> 1);
    }
    return sum;
}

static uint16_t word(uint32_t at) { return (uint16_t)(frame[at] << 8 | frame[at + 1]); }

static void put(uint32_t at, uint16_t value) {
    reply[at] = (uint8_t)(value >> 8);
    reply[at + 1] = (uint8_t)value;
}

/* The answer to a write says what was asked: the first six bytes (AP 6.6, 6.12). */
static uint32_t echo(uint32_t count) {
    for (uint32_t at = 0; at < count; at++) reply[at] = frame[at];
    return count;
}

void modbus_open(void) {
    holding[0] = 200; /* the set-point: 20.0 degrees */
    SYST_RVR = CORE_HZ / 1000000u * SILENCE_US + CORE_HZ % 1000000u * SILENCE_US / 1000000u;
}

/* A byte came, with its errors: the silence begins anew, also one that was about to be over. */
void modbus_byte(uint32_t received) {
    SYST_CVR = 0;
    ICSR = PENDSTCLR;
    SYST_CSR = CSR_RUN;
    if (complete) return; /* half duplex: nobody may speak before we answer */
    if (received & DR_ERRORS || length == LONGEST) damaged = true;
    else frame[length++] = (uint8_t)received;
}

/* 3.5 characters of silence: what came is a frame. */
void modbus_silence(void) {
    SYST_CSR = 0;
    complete = length > 0 || damaged;
}

static uint32_t exception(uint8_t code) {
    counters[EXCEPTIONS]++;
    reply[1] |= 0x80;
    reply[2] = code;
    return 3;
}

/* 03, 04: Read Holding Registers, Read Input Registers (AP 6.3, 6.4). */
static uint32_t read_registers(const uint16_t *table, uint32_t size) {
    uint32_t address = word(2), quantity = word(4);
    if (length != 8 || quantity < 1 || quantity > 125) return exception(ILLEGAL_VALUE);
    if (address + quantity > size) return exception(ILLEGAL_ADDRESS);
    reply[2] = (uint8_t)(quantity * 2);
    for (uint32_t i = 0; i < quantity; i++) put(3 + 2 * i, table[address + i]);
    return 3 + 2 * quantity;
}

static bool allowed(uint32_t address, uint16_t value) {
    if (address == 0) return (int16_t)value >= -400 && (int16_t)value <= 1250; /* the set-point, in 0.1 degrees */
    if (address == 1) return value <= 3;                                       /* the mode */
    return true;
}

/* 06: Write Single Register (AP 6.6). */
static uint32_t write_register(void) {
    uint32_t address = word(2);
    if (length != 8) return exception(ILLEGAL_VALUE);
    if (address >= HOLDING) return exception(ILLEGAL_ADDRESS);
    if (!allowed(address, word(4))) return exception(ILLEGAL_VALUE);
    holding[address] = word(4);
    return echo(6);
}

/* 16 (0x10): Write Multiple Registers (AP 6.12). All are written, or none. */
static uint32_t write_registers(void) {
    if (length < 9) return exception(ILLEGAL_VALUE);
    uint32_t address = word(2), quantity = word(4);
    if (quantity < 1 || quantity > 123 || frame[6] != quantity * 2 || length != 9 + quantity * 2)
        return exception(ILLEGAL_VALUE);
    if (address + quantity > HOLDING) return exception(ILLEGAL_ADDRESS);
    for (uint32_t i = 0; i < quantity; i++)
        if (!allowed(address + i, word(7 + 2 * i))) return exception(ILLEGAL_VALUE);
    for (uint32_t i = 0; i < quantity; i++) holding[address + i] = word(7 + 2 * i);
    return echo(6);
}

/* 08: Diagnostics (AP 6.8): 0 returns the query, 10 clears the counters, 11 to 15 give one. */
static uint32_t diagnostics(void) {
    if (length < 6) return exception(ILLEGAL_VALUE);
    uint32_t sub = word(2);
    if (sub == 0) return echo(length - 2);
    if (sub < 10 || sub > 15) return exception(ILLEGAL_FUNCTION);
    if (length != 8 || word(4) != 0) return exception(ILLEGAL_VALUE);
    echo(6);
    if (sub == 10)
        for (uint32_t i = 0; i < sizeof counters / sizeof *counters; i++) counters[i] = 0;
    else
        put(4, counters[sub - 11]);
    return 6;
}

/* Does what a good frame asks for, and gives the length of the reply without its CRC. */
static uint32_t answer(void) {
    uint16_t input[4] = {(uint16_t)noinit.boots, VERSION_NUMBER, holding[0], counters[BUS_ERRORS]};
    echo(2);
    switch (frame[1]) {
    case 3: return read_registers(holding, HOLDING);
    case 4: return read_registers(input, sizeof input / sizeof *input);
    case 6: return write_register();
    case 8: return diagnostics();
    case 16: return write_registers();
    default: return exception(ILLEGAL_FUNCTION);
    }
}

/* Judges the frame; gives how many bytes of reply there are. */
static uint32_t handle(void) {
    bool good = !damaged && length >= 4 && crc(frame, length - 2) == (frame[length - 1] << 8 | frame[length - 2]);
    counters[good ? BUS_MESSAGES : BUS_ERRORS]++;
    if (!good || (frame[0] != UNIT && frame[0] != 0)) return 0;
    counters[SERVER_MESSAGES]++;
    uint32_t count = answer();
    if (frame[0] == 0) { /* a broadcast is done and never answered */
        counters[NO_RESPONSE]++;
        return 0;
    }
    uint16_t sum = crc(reply, count);
    reply[count] = (uint8_t)sum;
    reply[count + 1] = (uint8_t)(sum >> 8);
    return count + 2;
}

/* Deals with a frame, if one is complete. Called with interrupts off; gives whether there was one. */
bool modbus_step(void) {
    if (!complete) return false;
    interrupts_on();
    uint32_t count = handle();
    interrupts_off();
    length = 0;
    damaged = complete = false; /* before the reply goes out: the next request may follow at once */
    interrupts_on();
    uart_write(UART1, reply, count);
    interrupts_off();
    return true;
}
