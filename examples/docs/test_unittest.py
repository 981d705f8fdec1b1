"""An IsolatedAsyncioTestCase in virtual time, without pytest."""

import asyncio
import unittest

from moorage.testing import VirtualClock


class TestBrewing(unittest.IsolatedAsyncioTestCase):
    def run(self, result=None):
        with VirtualClock() as self.clock:
            return super().run(result)

    async def test_an_hour(self):
        await asyncio.sleep(3600)
        assert self.clock.now() == 3600
