/* What the parts of the firmware know of each other. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

#define VERSION "1.0"
#define VERSION_NUMBER 0x0100u
#define UNIT 17u
#define BAUD 9600u
#define CONSOLE_BAUD 115200u

/* Survives a reset, not the loss of power: nobody clears it. */
extern struct noinit {
    uint32_t magic;
    uint32_t boots;
} noinit;

/* The holding registers, by address. What a debugger looks at: the symbol `holding`. */
#define HOLDING 16u
extern uint16_t holding[HOLDING];

void uart_open(uint32_t uart, uint32_t baud);
void uart_write(uint32_t uart, const uint8_t *bytes, uint32_t count);

void console_boot(void);
void console_byte(uint8_t byte);
bool console_step(void);

void modbus_open(void);
void modbus_byte(uint32_t word);
void modbus_silence(void);
bool modbus_step(void);

#endif
