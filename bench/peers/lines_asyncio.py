"""Reads what a command prints by asyncio's readline: lines_asyncio.py COMMAND...

Prints the CPU time of that in seconds and the number of lines.
"""

import asyncio
import sys
import time


async def main(command):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe)
    start, count = time.process_time(), 0
    while await process.stdout.readline():
        count += 1
    print(time.process_time() - start, count)
    await process.wait()


asyncio.run(main(sys.argv[1:]))
