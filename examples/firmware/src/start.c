/* Reset, interrupts, and the loop that sleeps until there is something to do. */
#include "board.h"
#include "firmware.h"

extern uint32_t stack_top, data_from, data_begin, data_end, bss_begin, bss_end;

#define MAGIC 0xB0075EEDu
struct noinit noinit __attribute__((section(".noinit")));

static void boot(void) {
    for (uint32_t *from = &data_from, *to = &data_begin; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_begin; to < &bss_end;) *to++ = 0;
    if (noinit.magic != MAGIC) { /* power was lost: what stands here is noise */
        noinit.magic = MAGIC;
        noinit.boots = 0;
    }
    noinit.boots++;
}

void reset(void) {
    boot();
    RCGC1 |= 3u;                /* UART0, UART1 */
    RCGC2 |= 1u | 8u;           /* ports A, D */
    GPIO_AFSEL(GPIO_A) |= 3u;   /* PA0, PA1: U0Rx, U0Tx */
    GPIO_DEN(GPIO_A) |= 3u;
    GPIO_AFSEL(GPIO_D) |= 0xCu; /* PD2, PD3: U1Rx, U1Tx */
    GPIO_DEN(GPIO_D) |= 0xCu;
    uart_open(UART0, CONSOLE_BAUD);
    uart_open(UART1, BAUD);
    console_boot();
    modbus_open();
    SHPR3 = 0xE0000000u;        /* SysTick below the UARTs: a byte that is there already comes before the silence */
    ISER0 = 1u << IRQ_UART0 | 1u << IRQ_UART1;
    for (;;) {
        interrupts_off();
        bool busy = modbus_step() | console_step();
        if (!busy) wait_for_interrupt(); /* wakes although interrupts are off; they are taken below */
        interrupts_on();
    }
}

void uart_open(uint32_t uart, uint32_t baud) {
    uint32_t divisor = (CORE_HZ * 4u + baud / 2u) / baud; /* clock / (16 x baud) in 1/64, 12.3.2 of the data sheet */
    UART_CTL(uart) = 0;
    UART_IBRD(uart) = divisor >> 6;
    UART_FBRD(uart) = divisor & 63u;
    UART_LCRH(uart) = LCRH_8N1;
    UART_IM(uart) = IM_RX;
    UART_CTL(uart) = CTL_ON;
}

void uart_write(uint32_t uart, const uint8_t *bytes, uint32_t count) {
    while (count--) {
        while (UART_FR(uart) & FR_TXFF) {
        }
        UART_DR(uart) = *bytes++;
    }
}

static void on_uart0(void) {
    UART_ICR(UART0) = IM_RX;
    while (!(UART_FR(UART0) & FR_RXFE)) console_byte((uint8_t)UART_DR(UART0));
}

static void on_uart1(void) {
    UART_ICR(UART1) = IM_RX;
    while (!(UART_FR(UART1) & FR_RXFE)) modbus_byte(UART_DR(UART1));
}

static void on_systick(void) { modbus_silence(); }

/* What must not happen: a debugger finds the core here. */
static void on_fault(void) {
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void *const vectors[16 + 8] = {
    &stack_top, reset,    on_fault, on_fault, on_fault, on_fault, on_fault, 0,
    0,          0,        0,        on_fault, on_fault, 0,        on_fault, on_systick,
    on_fault,   on_fault, on_fault, on_fault, on_fault, on_uart0, on_uart1, on_fault,
};
