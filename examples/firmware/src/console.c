/* The console on UART0: says who it is after each reset, then answers one line at a time.
 *
 *     ver      fw 1.0
 *     boots    boots 3
 */
#include "board.h"
#include "firmware.h"

#define LONGEST 32u

static uint8_t line[LONGEST];
static volatile uint32_t length;
static volatile bool complete;

static void say(const char *text) {
    uint32_t count = 0;
    while (text[count]) count++;
    uart_write(UART0, (const uint8_t *)text, count);
}

static void say_number(uint32_t number) {
    char digits[11];
    uint32_t at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = (char)('0' + number % 10u);
    while (number /= 10u);
    say(&digits[at]);
}

static bool said(const char *word) {
    uint32_t at = 0;
    while (at < length && word[at] && line[at] == (uint8_t)word[at]) at++;
    return at == length && !word[at];
}

void console_boot(void) {
    say("\r\nfieldrig-fw " VERSION " boot ");
    say_number(noinit.boots);
    say("\r\nmodbus: unit 17, 9600 8N1\r\nready\r\n");
}

/* A byte came; while a line is being answered further ones are lost, as on any console without a buffer. */
void console_byte(uint8_t byte) {
    if (complete) return;
    if (byte == '\n' || byte == '\r') complete = length > 0;
    else if (length < LONGEST) line[length++] = byte;
}

/* Answers a line, if one is complete. Called with interrupts off; gives whether there was one. */
bool console_step(void) {
    if (!complete) return false;
    interrupts_on();
    if (said("ver")) {
        say("fw " VERSION "\r\n");
    } else if (said("boots")) {
        say("boots ");
        say_number(noinit.boots);
        say("\r\n");
    } else {
        say("unknown command: ");
        uart_write(UART0, line, length);
        say("\r\n");
    }
    interrupts_off();
    length = 0;
    complete = false;
    return true;
}
