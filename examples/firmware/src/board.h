/* The board: an LM3S6965 (Cortex-M3), as `qemu-system-arm -M lm3s6965evb` has it.
 *
 * Only what this firmware uses. Names are those of the data sheet (Stellaris LM3S6965, chapters 3 and 12; the UARTs are
 * PL011) and of the ARMv7-M reference manual (B3.3, SysTick).
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* Clock of the core after reset: 200 MHz / 16. */
#define CORE_HZ 12500000u

/* System control: clocks of the peripherals. */
#define RCGC1 REGISTER(0x400FE104u)
#define RCGC2 REGISTER(0x400FE108u)

/* Pins: UART0 on port A, UART1 on port D. */
#define GPIO_A 0x40004000u
#define GPIO_D 0x40007000u
#define GPIO_AFSEL(port) REGISTER((port) + 0x420u)
#define GPIO_DEN(port) REGISTER((port) + 0x51Cu)

/* UARTs. */
#define UART0 0x4000C000u
#define UART1 0x4000D000u
#define UART_DR(uart) REGISTER((uart) + 0x00u)
#define UART_FR(uart) REGISTER((uart) + 0x18u)
#define UART_IBRD(uart) REGISTER((uart) + 0x24u)
#define UART_FBRD(uart) REGISTER((uart) + 0x28u)
#define UART_LCRH(uart) REGISTER((uart) + 0x2Cu)
#define UART_CTL(uart) REGISTER((uart) + 0x30u)
#define UART_IM(uart) REGISTER((uart) + 0x38u)
#define UART_ICR(uart) REGISTER((uart) + 0x44u)
#define FR_RXFE (1u << 4)
#define FR_TXFF (1u << 5)
#define DR_ERRORS 0xF00u /* overrun, break, parity, framing: of the byte in the same word */
#define LCRH_8N1 0x60u   /* without FIFOs: each byte is an interrupt of its own, so that silences are seen */
#define CTL_ON 0x301u
#define IM_RX (1u << 4)

/* SysTick. */
#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define CSR_RUN 7u /* enable, interrupt, clock of the core */

/* Interrupts. */
#define ISER0 REGISTER(0xE000E100u)
#define ICSR REGISTER(0xE000ED04u)
#define PENDSTCLR (1u << 25)
#define SHPR3 REGISTER(0xE000ED20u)
#define IRQ_UART0 5
#define IRQ_UART1 6

static inline void interrupts_off(void) { __asm__ volatile("cpsid i" ::: "memory"); }
static inline void interrupts_on(void) { __asm__ volatile("cpsie i" ::: "memory"); }
static inline void wait_for_interrupt(void) { __asm__ volatile("wfi" ::: "memory"); }

#endif
