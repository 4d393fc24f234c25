/* The floor: the cost of the reads of a scan, and nothing else.
 *
 *   floor READS XML_BYTES ROUNDS
 *
 * READS is a file with the reads of a scan of nodedevd, one a line: a letter, a blank and the
 * path. The letter is `L` to list the directory, `R` to read the file (followed by a number, to
 * read that many bytes at most), `T` to read the text of the link, `E` to test whether the path
 * exists. Each read uses plain system calls. In addition, XML_BYTES of text are written to
 * memory, line by line. Prints one JSON object: the wall time of each round in nanoseconds, the
 * number of reads, and the number of those that succeeded. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, LARGE = 16 << 20 };
struct step { char kind; size_t most; char *path; };

static struct step *steps;
static size_t count;
static char *large;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void load_steps(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    if (!file) { perror(path); exit(1); }
    while ((size = getline(&line, &room, file)) > 0) {
        if (line[size - 1] == '\n') line[size - 1] = 0;
        char *blank = strchr(line, ' ');
        if (!blank) { fprintf(stderr, "%s: no read: %s\n", path, line); exit(2); }
        if (count % 4096 == 0) steps = realloc(steps, (count + 4096) * sizeof *steps);
        size_t most = blank > line + 1 ? strtoul(line + 1, NULL, 10) : LARGE;
        steps[count++] = (struct step){line[0], most, strdup(blank + 1)};
    }
    fclose(file);
    free(line);
}

static int list(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) return 0;
    while (readdir(directory)) ;
    closedir(directory);
    return 1;
}

static int read_file(const char *path, size_t most)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return 0;
    ssize_t got = read(fd, large, most < PAGE ? most : PAGE);
    size_t done = got > 0 ? (size_t)got : 0;
    while (got > 0 && done >= PAGE && done < most) {
        got = read(fd, large + done, most - done);
        if (got > 0) done += (size_t)got;
    }
    close(fd);
    return got >= 0;
}

static size_t do_steps(void)
{
    size_t found = 0;
    char text[PAGE];
    struct stat status;
    for (size_t at = 0; at < count; at++)
        switch (steps[at].kind) {
        case 'L': found += (size_t)list(steps[at].path); break;
        case 'R': found += (size_t)read_file(steps[at].path, steps[at].most); break;
        case 'T': found += readlink(steps[at].path, text, sizeof text) >= 0; break;
        case 'E': found += lstat(steps[at].path, &status) == 0; break;
        default: fprintf(stderr, "no read: %c\n", steps[at].kind); exit(2);
        }
    return found;
}

static void write_xml(char *out, size_t bytes)
{
    for (size_t done = 0, line = 0; done + 128 < bytes; line++)
        done += (size_t)snprintf(out + done, 128, "    <%s>0x%04zx</%s>\n", "product", line & 0xffff, "product");
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: floor READS XML_BYTES ROUNDS\nexample: floor reads 8000000 5\n", stderr);
        return 2;
    }
    load_steps(argv[1]);
    size_t bytes = strtoul(argv[2], NULL, 10), found = 0;
    char *out = malloc(bytes + 128);
    large = malloc(LARGE + PAGE);
    memset(large, 1, LARGE);
    printf("{\"rounds_ns\": [");
    for (int round = 0, rounds = atoi(argv[3]); round < rounds; round++) {
        uint64_t start = now();
        found = do_steps();
        write_xml(out, bytes);
        printf("%s%llu", round ? ", " : "", (unsigned long long)(now() - start));
    }
    printf("], \"reads\": %zu, \"found\": %zu}\n", count, found);
    return 0;
}
