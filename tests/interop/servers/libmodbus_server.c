/* A libmodbus TCP server for many clients, after the pattern of its own bandwidth-server-many-up.c: 300 registers and
 * 2400 coils from address 0. Prints its port, ends when stdin closes. Build: cc libmodbus_server.c -lmodbus */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define REGISTERS 300
#define COILS 2400

static int listen_anywhere(modbus_t *ctx)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    int listener = modbus_tcp_listen(ctx, 8);
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        return -1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(void)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(COILS, COILS, REGISTERS, REGISTERS);
    int listener = ctx && map ? listen_anywhere(ctx) : -1;
    if (listener < 0)
        return 1;
    for (int i = 0; i < REGISTERS; i++)
        map->tab_registers[i] = map->tab_input_registers[i] = (uint16_t)(i * 257);
    for (int i = 0; i < COILS; i++)
        map->tab_bits[i] = map->tab_input_bits[i] = i % 3 == 0;
    fd_set open, ready;
    FD_ZERO(&open);
    FD_SET(STDIN_FILENO, &open);
    FD_SET(listener, &open);
    for (;;) {
        ready = open;
        if (select(FD_SETSIZE, &ready, NULL, NULL, NULL) < 0)
            return 1;
        for (int fd = 0; fd < FD_SETSIZE; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client >= 0)
                    FD_SET(client, &open);
                continue;
            }
            modbus_set_socket(ctx, fd);
            int size = modbus_receive(ctx, query);
            if (size > 0)
                modbus_reply(ctx, query, size, map);
            else if (size < 0) {
                close(fd);
                FD_CLR(fd, &open);
            }
        }
    }
}
