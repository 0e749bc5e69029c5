# SPDX-License-Identifier: Apache-2.0
"""What stands in Experience Platform."""
